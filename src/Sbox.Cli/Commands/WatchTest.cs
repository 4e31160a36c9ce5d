using System.CommandLine;
using System.Diagnostics;
using System.Text.Json;
using Sbox.Boot;
using Sbox.Cli.Help;
using Sbox.Cli.Terminal;
using Sbox.Integrity;
using Sbox.Linux;

namespace Sbox.Cli.Commands;

/// <summary><c>sbox watch test</c>: makes one real, tiny, harmless mount and waits for the real alarm.</summary>
internal static class WatchTest
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    public static Command Make()
    {
        Option<bool> json = SharedOptions.Json();
        var command = new DocumentedCommand("test", "Make one harmless mount and see whether its alarm comes through")
        {
            Details = ["An empty file system in memory is mounted over the policy's test directory, in a namespace that no other program sees. Exit status 0: the alarm came; 1: it did not."],
            Examples = [new Example("Is the sentinel awake?", "sbox watch test && echo awake")],
        };
        command.Options.Add(json);
        command.SetAction((parsed, cancel) => Task.FromResult(Run(new SentinelOptions(), new Speaker(parsed.GetValue(json)), cancel)));
        return command;
    }

    private static int Run(SentinelOptions options, Speaker speaker, CancellationToken cancel)
    {
        if (!Environment.IsPrivilegedProcess)
            throw new Finding("only root may mount, and that is what is tested", "sudo sbox watch test");
        string place = LoadedPolicy.Load(options.TreePolicy, options.OwnerPolicy).Policy.TestPath
            ?? throw new Finding("the policy names no place for a test", "[test] path = \"…\" in /usr/lib/sbox/sentinel.d");
        PrivateMounts.Enter();
        Mounts.SetPropagation("/", Propagation.Private, recursive: true);
        var clock = Stopwatch.StartNew();
        using (FileSystemContext context = FileSystemContext.Open("tmpfs"))
        using (DetachedMount mount = context.Set("source", "sbox-watch-test").Set("size", "4096").Create(MountAttributes.ReadOnly))
            mount.AttachAt(place);
        while (clock.Elapsed < Patience)
        {
            cancel.ThrowIfCancellationRequested();
            if (AlarmOf(options, Environment.ProcessId) is { } alarm)
                return Came(alarm, speaker);
            Thread.Sleep(20);
        }

        throw new Finding($"no alarm came within {Patience.TotalSeconds:0} s for a mount over {place}", "systemctl status sbox-watch.service");
    }

    private static int Came(JsonElement alarm, Speaker speaker)
    {
        double? latency = alarm.TryGetProperty("latency-us", out JsonElement microseconds) ? microseconds.GetInt64() / 1000.0 : null;
        speaker.Answer($"The alarm came{(latency is { } took ? string.Create(System.Globalization.CultureInfo.InvariantCulture, $", {took:0.0} ms after the mount") : "")}: the sentinel is awake.", json =>
        {
            json.WriteBoolean("alarm", true);
            if (latency is { } took)
                json.WriteNumber("latency-ms", took);
        });
        return 0;
    }

    private static JsonElement? AlarmOf(SentinelOptions options, int process)
    {
        foreach ((_, string raw, _) in WatchQuestions.Past(options).Reverse().Take(20))
        {
            JsonElement alarm = JsonDocument.Parse(raw).RootElement;
            if (alarm.GetProperty("finding").GetString() == "test" && alarm.TryGetProperty("by", out JsonElement by) && by.GetProperty("pid").GetInt32() == process)
                return alarm;
        }

        return null;
    }
}
