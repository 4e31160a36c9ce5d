using System.CommandLine;
using System.Globalization;
using Sbox.Boot;
using Sbox.Cli.Help;
using Sbox.Linux;
using Sbox.Sysroot;

namespace Sbox.Cli.StoreCommands;

/// <summary><c>ostree admin instutil</c>: what installers and boot loaders' own scripts ask for.</summary>
internal static class AdminInstUtil
{
    public static Command Make()
    {
        var util = new DocumentedCommand("instutil", "Commands for installers");
        foreach (Command command in (Command[])[SetKargs(), Grub2Generate(), EnsureLabeled()])
            util.Subcommands.Add(command);
        return util;
    }

    private static Command SetKargs()
    {
        var import = new Option<bool>("--import-proc-cmdline") { Description = "Begin with the running kernel's" };
        var merge = new Option<bool>("--merge") { Description = "Begin with those that there are" };
        Option<string[]> replace = new("--replace") { Description = "Set an argument, in place of those with its name", HelpName = "NAME=VALUE" },
            append = new("--append") { Description = "Add an argument", HelpName = "NAME=VALUE" };
        var more = new Argument<string[]>("NAME=VALUE") { Description = "Arguments to add", Arity = ArgumentArity.ZeroOrMore };
        return AdminKeeping.On("set-kargs", "Set the kernel arguments of the default deployment", (sysroot, parsed) =>
        {
            Deployment first = sysroot.Deployments.FirstOrDefault() ?? throw new IOException("Unable to find a deployment in sysroot");
            KernelArguments arguments = parsed.GetValue(import) ? AdminDeploying.RunningArguments() : parsed.GetValue(merge) ? first.Arguments : KernelArguments.Empty;
            arguments = parsed.GetValue(replace)!.Aggregate(arguments, static (all, each) => all.Set(new KernelArgument(each)));
            arguments = parsed.GetValue(append)!.Concat(parsed.GetValue(more)!).Aggregate(arguments, static (all, each) => all.Append(each));
            using var deployer = new Deployer(sysroot, espDirectory: null);
            deployer.SetArguments(first.Name, arguments);
            AdminCommands.SayBootloader(sysroot);
        }, import, merge, replace, append, more);
    }

    // GRUB's own generator asks for it, and tells by the environment which configuration it writes and how it names disks.
    private static Command Grub2Generate()
    {
        Option<string?> path = AdminCommands.Sysroot();
        var version = new Argument<string?>("BOOTVERSION") { Description = "Of these boot entries: 0 or 1; of the active ones where it is not said", Arity = ArgumentArity.ZeroOrOne };
        Command command = new DocumentedCommand("grub2-generate", "Print GRUB's menu of the deployments").With(path, version);
        command.SetAction(parsed =>
        {
            using OstreeSysroot sysroot = AdminCommands.Open(parsed, path);
            string? asked = parsed.GetValue(version) ?? Environment.GetEnvironmentVariable("_OSTREE_GRUB2_BOOTVERSION");
            if (asked is not (null or "0" or "1"))
                throw new IOException($"Invalid bootversion: {asked}");
            Console.Out.Write(GrubMenu.Of(
                sysroot, asked is null ? null : int.Parse(asked, CultureInfo.InvariantCulture), Given("GRUB2_BOOT_DEVICE_ID"), Given("GRUB2_PREPARE_ROOT_CACHE")));
            return 0;
        });
        return command;
    }

    private static string Given(string variable) => Environment.GetEnvironmentVariable(variable) ?? throw new IOException($"{variable} is not set: grub-mkconfig's script calls this, and sets it");

    private static Command EnsureLabeled()
    {
        var only = new Argument<string[]>("SUBPATH PREFIX") { Description = "A directory of the deployment, and what it is called in the policy", Arity = ArgumentArity.ZeroOrMore };
        return AdminKeeping.On("selinux-ensure-labeled", "Label a deployment for SELinux; refused where its tree has a policy: none is compiled here", static (sysroot, _) =>
        {
            Deployment first = sysroot.Deployments.FirstOrDefault() ?? throw new IOException("Unable to find a deployment in sysroot");
            using Dir tree = sysroot.OpenDeployment(first);
            if (tree.Exists("etc/selinux/config") || tree.Exists("usr/etc/selinux/config"))
                throw new NotSupportedException($"{tree.Path}: SELinux labels are not made: there is no policy compiler here");
            Console.Out.WriteLine($"No SELinux policy found in deployment '{Path.GetFullPath(tree.Path)}'");
        }, only);
    }
}
