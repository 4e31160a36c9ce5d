using System.Diagnostics;
using Sbox.Judges;

namespace Sbox.Bench;

/// <summary>restic's rest-server behind a link that is slow to answer.</summary>
internal sealed class FarAway : IDisposable
{
    private readonly Process server;
    private readonly SlowLink link;

    /// <param name="directory">What the server keeps: repositories, each a directory.</param>
    /// <param name="roundTrip">How far away it is.</param>
    public FarAway(string directory, TimeSpan roundTrip)
    {
        int behind = SlowLink.FreePort();
        server = Process.Start(new ProcessStartInfo(Judge.ResticRestServer, ["--no-auth", "--listen", $"127.0.0.1:{behind}", "--path", directory]) { RedirectStandardError = true, RedirectStandardOutput = true })!;
        _ = server.StandardError.ReadToEndAsync();
        _ = server.StandardOutput.ReadToEndAsync();
        SlowLink.WaitFor(behind);
        link = new SlowLink(behind, roundTrip);
    }

    /// <summary>Requests so far.</summary>
    public int Requests => link.Requests;

    /// <summary>A repository's URL, as both programs have it.</summary>
    public string Url(string repository) => $"rest:http://127.0.0.1:{link.Port}/{repository}/";

    public void Dispose()
    {
        link.Dispose();
        server.Kill();
        server.Dispose();
    }
}
