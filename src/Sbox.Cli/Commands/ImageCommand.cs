using System.CommandLine;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Boot;
using Sbox.Image;
using Sbox.Store;

namespace Sbox.Cli.Commands;

/// <summary><c>sbox image</c>: a branch becomes a disk image.</summary>
internal static class ImageCommand
{
    public static Command Make()
    {
        var branch = new Argument<string>("REF") { Description = "The branch to install, which the box will follow" };
        var repo = new Option<string>("--repo") { Description = "The repository that has it", HelpName = "PATH", Required = true };
        var output = new Option<string>("--output", "-o") { Description = "The disk image to write", HelpName = "FILE", Required = true };
        var url = new Option<string?>("--remote-url") { Description = "Where the box will look for upgrades", HelpName = "URL" };
        var os = new Option<string?>("--os") { Description = "The stateroot's name; the first part of REF where it is not said", HelpName = "NAME" };
        var arguments = new Option<string[]>("--karg") { Description = "A kernel argument beside the recipe's", HelpName = "ARGUMENT" };
        var free = new Option<long>("--free-mib") { Description = "Room for what the owner will keep, in MiB", HelpName = "MIB", DefaultValueFactory = static _ => 2048 };
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand("image", "Make a disk image that boots a branch's box")
        {
            Details =
            [
                "The image has a GPT with an EFI system partition (systemd-boot, one unified kernel image for each deployment) and an ext4 root. "
                + "It boots on any UEFI machine, and in QEMU with OVMF. Nothing is mounted or booted to make it, and the file is sparse.",
                "Its size is planned from the tree: room for two versions side by side, for three kernel images on the EFI partition, and for --free-mib of the owner's.",
            ],
            Examples = [new Example("An image of the demo's box", "sbox image --repo /srv/repo debian/13/amd64/minimal --remote-url https://example.org/repo -o disk.img")],
        }.With(branch, repo, output, url, os, arguments, free, json);
        command.SetAction((parsed, cancel) =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            string file = parsed.GetValue(output)!, name = parsed.GetValue(branch)!;
            using Repository repository = Repository.Open(parsed.GetValue(repo)!);
            using var line = new ProgressLine(speaker);
            var content = new BoxContent(parsed.GetValue(os) ?? name.Split('/')[0], name)
            {
                Url = parsed.GetValue(url),
                MoreArguments = KernelArguments.Parse(string.Join(' ', parsed.GetValue(arguments) ?? [])),
            };
            using StagedBox box = StagedBox.Make(repository, content, BuildCache.OfUser(), options: null, BuildSteps.On(line), cancel);
            DiskPlan plan = DiskImage.Plan(box.Content with { UserBytes = parsed.GetValue(free) << 20 });
            DiskImage.Write(plan, file, BuildSteps.On(line), cancel);
            line.Dispose();
            speaker.Note(plan.ToString().TrimEnd());
            speaker.Answer(file, writer =>
            {
                writer.WriteString("image", file);
                writer.WriteNumber("bytes", plan.Bytes);
            });
            return Task.FromResult(0);
        });
        return command;
    }
}
