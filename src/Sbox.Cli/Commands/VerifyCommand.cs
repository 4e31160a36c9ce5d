using System.CommandLine;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Integrity;
using Sbox.Linux;
using Sbox.Sysroot;

namespace Sbox.Cli.Commands;

/// <summary><c>sbox verify</c>: whether what lies on the disk is what the deployments say.</summary>
internal static class VerifyCommand
{
    private const string StateFile = "/var/lib/sbox/verify.state";

    public static Command Make()
    {
        Option<string> path = SharedOptions.Sysroot();
        var deep = new Option<bool>("--deep") { Description = "Read and hash every byte, from the disk" };
        var restart = new Option<bool>("--restart") { Description = "Begin anew, where an earlier deep check was cut short" };
        var state = new Option<string?>("--state") { Description = $"Where a deep check keeps how far it has come; {StateFile} on the running box, else nowhere", HelpName = "FILE" };
        var fast = new Option<bool>("--full-speed") { Description = "Take processor and disk as any program does; else only what nobody else wants" };
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand("verify", "Check trees and repository on the disk, while the box runs")
        {
            Details =
            [
                "All objects that the deployments need are looked at, and the composefs image that each deployment is mounted by. Commits and directories are always read and hashed. "
                + "Of files the kernel is asked which fs-verity digest it holds them to, which reads nothing; all those digests together must give the image that the seal, the commit "
                + "or the kernel's command line names. Files without fs-verity are counted as unchecked.",
                "With --deep every byte is read from the disk and hashed, on all processors, at idle priority for both processor and disk. What programs have mapped into memory is taken from there. "
                + "How far it has come is kept in the state file every few seconds, and the next run goes on from there: what was read before is then as old as the first run, which the answer says. "
                + "The state is as trustworthy as whoever can write it: where in doubt, --restart.",
                "Not looked at: /etc and /var, which are the owner's; the hardlinked checkouts beside the images, from which nothing runs; commits that are not deployed (sbox store fsck). "
                + "What runs at this moment, and was signed by whom, is sbox prove's matter.",
            ],
            ExitCodes =
            [
                (0, "All that was looked at is whole, and nothing was left out."), (1, "Something is wrong, or the check itself failed."),
                (3, "Nothing is wrong, but something could not be checked."),
            ],
            Examples =
            [
                new Example("A quick look, in a second or two", "sbox verify"), new Example("Read everything, over night", "sbox verify --deep"),
                new Example("Paths of damaged files, for a script", "sbox verify --deep --json | jq -r '.faults[].paths[]'"),
            ],
        }.With(path, deep, restart, state, fast, json);
        command.SetAction((parsed, cancel) =>
        {
            string root = parsed.GetValue(path)!;
            Box.RequireSysroot(root);
            bool isDeep = parsed.GetValue(deep);
            bool isIdle = isDeep && !parsed.GetValue(fast);
            if (isIdle)
                Priority.BeIdle(); // this thread lists what there is; those that read ask for themselves
            var speaker = new Speaker(parsed.GetValue(json));
            using OstreeSysroot sysroot = OstreeSysroot.Open(root);
            using var line = new ProgressLine(speaker);
            var options = new VerifyOptions
            {
                Deep = isDeep, Idle = isIdle, Restart = parsed.GetValue(restart),
                StateFile = parsed.GetValue(state) ?? (Box.IsRunning(root) && Environment.IsPrivilegedProcess ? StateFile : null),
            };
            VerifyReport report = new BoxCheck(sysroot, options, new Reporter<VerifyProgress>(at => line.Update(Describe(at)))).Run(cancel);
            line.Dispose();
            speaker.Answer(Text(report, sysroot), writer => Write(writer, report));
            return Task.FromResult(report.Verdict.ExitCode());
        });
        return command;
    }

    private static string Describe(VerifyProgress at) => at.TotalBytes == 0
        ? $"{at.Objects} of {at.TotalObjects} objects"
        : $"{at.Objects} of {at.TotalObjects} objects, {Amount.OfBytes(at.Bytes)} of {Amount.OfBytes(at.TotalBytes)}";

    private static string Text(VerifyReport report, OstreeSysroot sysroot)
    {
        var text = new StringBuilder();
        foreach (ImageLook image in report.Images)
            text.Append(CultureInfo.InvariantCulture, $"{image.Verdict.Word(),-9} {image.Deployment.Short}: {Boot.PhysicalRoot.ImageName}: {image.Says}\n");
        foreach (ObjectFault fault in report.Faults)
        {
            text.Append(CultureInfo.InvariantCulture, $"{fault.Verdict.Word(),-9} {fault.Problem.Subject}: {fault.Problem.Detail}\n");
            foreach (string path in fault.Paths)
                text.Append(CultureInfo.InvariantCulture, $"          that is {path}\n");
        }

        foreach (string line in report.Unchecked)
            text.Append(CultureInfo.InvariantCulture, $"unchecked {line}\n");
        string resumed = report.ResumedFrom is { } from ? string.Create(CultureInfo.InvariantCulture, $"; resumed, the oldest of it read on {from:yyyy-MM-dd HH:mm} UTC") : "";
        text.Append(CultureInfo.InvariantCulture, $"{report.Objects} objects of {report.Images.Count} deployments: {report.Read} read ({Amount.OfBytes(report.Bytes)}), {report.Held} held by the kernel, ");
        text.Append(CultureInfo.InvariantCulture, $"{report.Unseen} not looked at, {report.Faults.Count} faults; {report.Took.TotalSeconds:0.0} s{resumed}\n");
        return text.Append(Advice(report, sysroot)).ToString();
    }

    private static string Advice(VerifyReport report, OstreeSysroot sysroot) => report switch
    {
        { Verdict: Verdict.Ok, Deep: true } => "All is as it was published.",
        { Verdict: Verdict.Ok } => "All is as it was published, as far as the kernel's word goes: sbox verify --deep reads every byte.",
        { Verdict: Verdict.Unchecked, Deep: false, Unseen: > 0 } => "Nothing is wrong with what was looked at. sbox verify --deep reads the rest.",
        { Verdict: Verdict.Unchecked } => "Nothing is wrong with what was looked at.",
        { Faults.Count: > 0 } => $"Nothing was changed. A pull brings good copies of what sbox store fsck --delete --repo={sysroot.Path}/ostree/repo removes; what runs from a damaged file gets an error where the box is sealed.",
        { Deep: false } => "Nothing was changed. sbox verify --deep tells which file it is.",
        _ => "Nothing was changed. sbox upgrade --allow-downgrade, or sbox rollback, brings another deployment.",
    };

    private static void Write(Utf8JsonWriter json, VerifyReport report)
    {
        json.WriteString("verdict", report.Verdict.Word());
        json.WriteBoolean("deep", report.Deep);
        json.WriteNumber("objects", report.Objects);
        json.WriteNumber("read", report.Read);
        json.WriteNumber("held-by-kernel", report.Held);
        json.WriteNumber("not-looked-at", report.Unseen);
        json.WriteNumber("bytes-read", report.Bytes);
        json.WriteNumber("seconds", Math.Round(report.Took.TotalSeconds, 2));
        if (report.ResumedFrom is { } from)
            json.WriteString("resumed-from", from.UtcDateTime);
        json.WriteStartArray("images");
        foreach (ImageLook image in report.Images)
        {
            json.WriteStartObject();
            json.WriteString("deployment", image.Deployment.ToString());
            json.WriteString("verdict", image.Verdict.Word());
            json.WriteString("says", image.Says);
            json.WriteString("digest", image.Digest?.ToString());
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteStartArray("faults");
        foreach (ObjectFault fault in report.Faults)
        {
            json.WriteStartObject();
            json.WriteString("object", fault.Problem.Subject);
            json.WriteString("verdict", fault.Verdict.Word());
            json.WriteString("says", fault.Problem.Detail);
            Strings(json, "paths", fault.Paths);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        Strings(json, "unchecked", report.Unchecked);
    }

    private static void Strings(Utf8JsonWriter json, string name, IReadOnlyList<string> values)
    {
        json.WriteStartArray(name);
        foreach (string value in values)
            json.WriteStringValue(value);
        json.WriteEndArray();
    }
}
