namespace Sbox.Linux.Tests.Fuse;

/// <summary>A tree mounted at a place of its own. Whoever looks at it is another process: a page fault of this one could wait for itself.</summary>
internal sealed class MountedTree : IDisposable
{
    public MountedTree(IFuseTree tree, Action<Exception>? onFailure = null)
    {
        Place = Directory.CreateTempSubdirectory("sbox-fuse-").FullName;
        Mount = FuseMount.Mount(tree, Place, new FuseOptions { OnFailure = onFailure });
    }

    public string Place { get; }

    public FuseMount Mount { get; }

    /// <summary>What a shell says in the mounted tree: its lines, and <c>exit N</c> where it failed.</summary>
    public string[] Sh(string script, int seconds = 120)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(seconds));
        var lines = new List<string>();
        ChildResult result = ChildProcess.Run(new ChildCommand("sh", ["-c", script]) { WorkingDirectory = Place }, lines.Add, limit.Token);
        return result.ExitCode == 0 ? [.. lines] : [.. lines, $"exit {result.ExitCode}"];
    }

    public void Dispose()
    {
        Mount.Dispose();
        Directory.Delete(Place);
    }
}
