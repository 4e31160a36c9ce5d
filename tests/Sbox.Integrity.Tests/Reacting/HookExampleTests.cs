using System.Net;
using System.Net.Sockets;
using Sbox.Judges;
using Sbox.Sysroot.Tests;

namespace Sbox.Integrity.Tests;

/// <summary>The example by which alarms leave the machine: a hook that keeps them, and a service that sends them.</summary>
public sealed class HookExampleTests : IDisposable
{
    private const string Alarm = "{\"time\":\"2026-11-25T18:00:00Z\",\"severity\":\"critical\",\"finding\":\"covered\",\"path\":\"/usr/bin\",\"says\":\"tmpfs ü is mounted over it\"}";
    private static readonly string Examples = Path.Combine(SourceTree.Root, "packaging", "sentinel", "examples");
    private readonly TempDir temp = new();

    private string Outbox => temp.Of("outbox");

    public void Dispose() => temp.Dispose();

    [Fact]
    public void The_owner_may_add_the_example_to_what_the_sealed_tree_asks_for()
    {
        SentinelPolicy policy = PolicyReader.Read(BoxTable.Policy, "50-alarm.toml", File.ReadAllText(Path.Combine(Examples, "50-alarm.toml")), PolicyOrigin.Owner);
        Assert.Equal("/etc/sbox/alarm/keep", policy.ReactionTo(Severity.Critical).Hook);
        Assert.Contains(Reaction.Undo, policy.ReactionTo(Severity.Critical).Do);
    }

    [Fact]
    public async Task An_alarm_is_kept_until_the_webhook_and_the_mail_have_it_and_each_gets_it_once()
    {
        Keep();
        Assert.Single(Waiting());
        using var web = new Web { Status = 500 };
        string conf = temp.Write("conf", $"WEBHOOK={web.Url}alarms MAIL_TO=owner@example.org\n");
        Directory.CreateDirectory(temp.Of("bin"));
        Script.Write(temp.Of("bin/sendmail"), $"{{ echo \"$@\"; cat; }} >>{temp.Of("mails")}");

        Judges.Verdict failed = Send(conf);
        Assert.Equal(1, failed.ExitCode);
        Assert.Contains("not sent by webhook", failed.Error, StringComparison.Ordinal);
        Assert.Single(Waiting());

        web.Status = 204;
        Assert.Equal(0, Send(conf).ExitCode);
        Assert.Empty(Directory.GetFileSystemEntries(Outbox));
        Assert.Equal([Alarm, Alarm], await web.Stop()); // the refused one, and the one that was taken
        string mails = File.ReadAllText(temp.Of("mails"));
        Assert.Equal(2, mails.Split("-i owner@example.org").Length); // once, in spite of two runs
        Assert.Contains("Subject: sbox: an alarm on", mails, StringComparison.Ordinal);
        Assert.Contains(Alarm, mails, StringComparison.Ordinal);
    }

    private void Keep()
    {
        string alarm = temp.Write("alarm", Alarm);
        Judge.OnPath("sh").Run("-c", $"SBOX_OUTBOX={Outbox} {Examples}/keep <{alarm}");
    }

    private string[] Waiting() => Directory.GetFiles(Outbox, "*.json");

    private Judges.Verdict Send(string conf) => Judge.OnPath("env").Ask($"SBOX_OUTBOX={Outbox}", $"SBOX_ALARM_CONF={conf}", $"PATH={temp.Of("bin")}:/usr/bin:/bin", $"{Examples}/send");

    private sealed class Web : IDisposable
    {
        private readonly HttpListener listener = new();
        private readonly List<string> bodies = [];
        private readonly Task serving;

        public Web()
        {
            int port;
            using (var free = new TcpListener(IPAddress.Loopback, 0))
            {
                free.Start();
                port = ((IPEndPoint)free.LocalEndpoint).Port;
            }

            Url = $"http://127.0.0.1:{port}/";
            listener.Prefixes.Add(Url);
            listener.Start();
            serving = Serve();
        }

        public string Url { get; }

        public int Status { get; set; }

        public async Task<IReadOnlyList<string>> Stop()
        {
            listener.Stop();
            await serving;
            return bodies;
        }

        public void Dispose() => listener.Close();

        private async Task Serve()
        {
            while (listener.IsListening)
            {
                try
                {
                    HttpListenerContext context = await listener.GetContextAsync();
                    using (var reader = new StreamReader(context.Request.InputStream))
                        bodies.Add(await reader.ReadToEndAsync());
                    context.Response.StatusCode = Status;
                    context.Response.Close();
                }
                catch (Exception closed) when (closed is HttpListenerException or ObjectDisposedException)
                {
                    return;
                }
            }
        }
    }
}
