using System.CommandLine;
using Microsoft.Win32.SafeHandles;
using Sbox.Boot;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Linux;
using Sbox.Store;
using Sbox.Sysroot;

namespace Sbox.Cli.Commands;

/// <summary><c>sbox verity</c>: every file that the kernel does not prove yet is given to it to prove.</summary>
internal static class VerityCommand
{
    private const int Cannot = 3;

    public static Command Make()
    {
        Option<string> path = SharedOptions.Sysroot();
        var fast = new Option<bool>("--full-speed") { Description = "Take processor and disk as any program does; else only what nobody else wants" };
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand("verity", "Seal every file of a box that is not sealed yet")
        {
            Details =
            [
                "A sealed file cannot be written any more, and the kernel hashes what it reads of it: another byte on the disk is an error and not a byte (fs-verity). Files are sealed as they come "
                + "with an upgrade; this command seals those that came before, or from another program. On a box it runs by itself once, as sbox-verity.service after the first boot. "
                + "Where the repository's config says nothing of it (ex-integrity.fsverity), it is told to seal what comes from then on.",
                "It seals what is there and does not ask whether that is what was published: sbox verify does. On a box that boots sealed, a file that is not the right one stays unreadable.",
                "It may be killed at any moment, and goes on where it was when it is run again.",
            ],
            ExitCodes = [(0, "All files are sealed."), (Cannot, "The file system, or the kernel, has no fs-verity; nothing was changed.")],
            Examples = [new Example("On an ext4 that was made without, as root, not mounted", "tune2fs -O verity DEVICE")],
        }.With(path, fast, json);
        command.SetAction((parsed, cancel) =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            using Box box = Box.ToWrite(parsed.GetValue(path)!);
            using var line = new ProgressLine(speaker);
            bool idle = !parsed.GetValue(fast);
            VeritySummary summary = box.Sysroot.Repository.EnableVerityOnAll(
                idle, new Reporter<VerityProgress>(at => line.Update($"{at.Done} of {at.Total} files")), cancel);
            if (summary.Supported)
            {
                SealImages(box.Sysroot);
                SealWhatComes(box.Sysroot.Repository);
            }

            line.Dispose();
            speaker.Answer(
                summary.Supported ? $"Sealed {summary.Enabled} files; {summary.AlreadyEnabled} were sealed before."
                    : $"{box.Sysroot.Path}: its file system, or the kernel, has no fs-verity (tune2fs -O verity): no file was sealed.",
                writer =>
                {
                    writer.WriteBoolean("supported", summary.Supported);
                    writer.WriteNumber("sealed", summary.Enabled);
                    writer.WriteNumber("sealed-before", summary.AlreadyEnabled);
                });
            return Task.FromResult(summary.Supported ? 0 : Cannot);
        });
        return command;
    }

    // What an upgrade brings is sealed as it is written only where the repository is told so; what its owner said of that stays.
    private static void SealWhatComes(Repository repository)
    {
        if (repository.Config.GetString("ex-integrity", "fsverity") is null)
            repository.WriteConfig(repository.Config.With("ex-integrity", "fsverity", "maybe"));
    }

    private static void SealImages(OstreeSysroot sysroot)
    {
        foreach (Deployment deployment in sysroot.Deployments)
        {
            using Dir tree = sysroot.OpenDeployment(deployment);
            using SafeFileHandle? image = tree.TryOpenFile(PhysicalRoot.ImageName);
            if (image is not null && Verity.Measure(image, tree.Of(PhysicalRoot.ImageName)) is null)
                Verity.TryEnable(image, tree.Of(PhysicalRoot.ImageName));
        }
    }
}
