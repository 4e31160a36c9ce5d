using System.CommandLine;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Image;

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
        free.Validators.Add(static result =>
        {
            if (result.Tokens is [var token] && (!long.TryParse(token.Value, out long mib) || mib is < 0 or > 1L << 30))
                result.AddError($"--free-mib={token.Value}: expected 0 to {1L << 30} MiB");
        });
        var keys = new Option<string?>("--keys") { Description = "Make a sealed box, whose owner's keys are there; the branch must be sealed", HelpName = "DIR" };
        var encrypt = new Option<bool>("--encrypt") { Description = "Have the first boot encrypt the root's partition; the machine's TPM opens it from then on. Needs --keys" };
        var iso = new Option<bool>("--iso") { Description = "Let the image be a CD's as well, on which the box runs as a ghost" };
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand("image", "Make a disk image that boots a branch's box")
        {
            Details =
            [
                "The image has a GPT with an EFI system partition (systemd-boot, one unified kernel image for each deployment) and an ext4 root. "
                + "It boots on any UEFI machine, and in QEMU with OVMF. Nothing is mounted or booted to make it, and the file is sparse.",
                "Its size is planned from the tree: room for two versions side by side, for three kernel images on the EFI partition, and for --free-mib of the owner's.",
                "With --keys, every file is sealed with fs-verity on the image, boot files carry the signatures of sbox seal, and the boot loader enrolls PK, KEK and db where the "
                + "firmware is in setup mode, and nowhere else: it counts down from 15, and a key press stops it. On a machine whose own option ROMs are signed by "
                + "another's key, that can leave it without them. No private key is read, and none is on the image.",
                "With --encrypt, the first boot makes a LUKS2 volume of the root's partition, /etc, /var and all, by a key that is made on that machine: one image serves many machines, and is no secret. The "
                + "machine needs a TPM 2.0 and Secure Boot with the owner's keys; without, its first boot stops and says so. From then on it opens by itself under every version that is "
                + "sealed by the owner's pcr key: sbox-disk(1). The recipe says encrypted-root = true.",
                "With --iso, the same file is also an ISO 9660 volume with an El Torito boot catalog, for drives and virtual machines that take a CD; as a disk it is what it was. A CD is read-only: the boot menu's entry 'ghost' runs from it, others "
                + "say so. Some programs take a stick of that file for a CD, which is why it is not so always.",
            ],
            Examples = [new Example("An image of the demo's box", "sbox image --repo /srv/repo debian/13/amd64/minimal --remote-url https://example.org/repo -o disk.img"),
                new Example("A sealed one", "sbox image --repo /srv/repo debian/13/amd64/minimal --keys keys -o disk.img"),
                new Example("One whose disk is encrypted", "sbox image --repo /srv/repo debian/13/amd64/minimal --keys keys --encrypt -o disk.img")],
        }.With(branch, repo, output, url, os, arguments, free, keys, encrypt, iso, json);
        command.SetAction((parsed, cancel) =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            if (parsed.GetValue(keys) is not null && parsed.GetValue(arguments) is [var first, ..])
                throw new Finding($"--karg={first}: the command line of a sealed box is signed, and has only the recipe's arguments", "Put it into the recipe's kernel-arguments, build, and seal");
            if (parsed.GetValue(encrypt) && parsed.GetValue(keys) is null)
                throw new Finding("--encrypt: only a sealed box's disk is encrypted, since anybody's version would open another", "Seal the branch with sbox seal, and name the owner's keys: --keys=DIR");
            if (parsed.GetValue(encrypt) && parsed.GetValue(iso))
                throw new Finding("--iso and --encrypt: the first boot would write to a CD", "Make one image with the one, and one with the other");
            var request = new BoxImageRequest(parsed.GetValue(repo)!, parsed.GetValue(branch)!, parsed.GetValue(output)!)
            {
                Os = parsed.GetValue(os),
                RemoteUrl = parsed.GetValue(url),
                KernelArguments = parsed.GetValue(arguments) ?? [],
                Keys = parsed.GetValue(keys) is { } directory ? OwnerDirectory.At(directory) : null,
                Encrypt = parsed.GetValue(encrypt),
                Iso = parsed.GetValue(iso),
                UserBytes = parsed.GetValue(free) << 20,
            };
            using var line = new ProgressLine(speaker);
            DiskPlan plan = new BoxImage(BuildCache.OfUser()).Make(request, BuildSteps.On(line), cancel);
            line.Dispose();
            speaker.Note(plan.ToString().TrimEnd());
            speaker.Answer(request.Output, writer =>
            {
                writer.WriteString("image", request.Output);
                writer.WriteNumber("bytes", plan.Bytes);
            });
            return Task.FromResult(0);
        });
        return command;
    }
}
