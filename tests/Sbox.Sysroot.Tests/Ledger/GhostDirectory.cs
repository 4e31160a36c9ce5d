using Sbox.Linux;

namespace Sbox.Sysroot.Tests;

/// <summary>A directory as a ghost has it: a real overlay, with what the disk has below and what the session changes above.</summary>
internal sealed class GhostDirectory : IDisposable
{
    private readonly TempDir temp = new(inMemory: true);
    private bool isMounted;

    public GhostDirectory()
    {
        foreach (string each in (string[])["upper", "work", "disk", "merged", "beside"])
            Directory.CreateDirectory(temp.Of(each));
        Layer = new GhostLayer(temp.Of("merged"), temp.Of("upper"), temp.Of("disk"), temp.Of("beside/.sbox-keep")) { Tree = Directory.CreateDirectory(temp.Of("tree")).FullName };
    }

    public GhostLayer Layer { get; }

    /// <summary>Puts a file onto the disk, before the session begins.</summary>
    public void Disk(string path, string text) => Put($"disk/{path}", text);

    /// <summary>Puts a file into the tree of the version that runs.</summary>
    public void Version(string path, string text) => Put($"tree/{path}", text);

    /// <summary>Begins the session, as sbox-root does.</summary>
    public void Begin()
    {
        foreach (string each in (string[])["upper", "work"]) // an earlier session's memory is gone
            Directory.Delete(temp.Of(each), recursive: true);
        foreach (string each in (string[])["upper", "work"])
            Directory.CreateDirectory(temp.Of(each));
        using FileSystemContext context = FileSystemContext.Open("overlay");
        context.Set("source", "ghost").Set("lowerdir+", Layer.Lower).Set("upperdir", Layer.Upper).Set("workdir", temp.Of("work"));
        using DetachedMount mount = context.Set("redirect_dir", "on").Create();
        mount.AttachAt(Layer.At);
        isMounted = true;
    }

    /// <summary>Begins a boot that is no ghost: what is seen is the disk.</summary>
    public void BeginNormal()
    {
        Mounts.Bind(Layer.Lower, Layer.At);
        isMounted = true;
    }

    /// <summary>Power-off: what the disk has is all that is left.</summary>
    public void End()
    {
        // Another test's child may hold a descriptor of it from its fork to its exec: it goes when that does.
        Mounts.Detach(Layer.At);
        isMounted = false;
    }

    public string Of(string path) => $"{Layer.At}/{path}";

    public void Session(string path, string text) => Put($"merged/{path}", text);

    public string OnDisk(string path) => temp.Read($"disk/{path}");

    public bool IsOnDisk(string path) => Path.Exists(temp.Of($"disk/{path}"));

    /// <summary>The ledger, one word of change and the path from this directory a line.</summary>
    public IReadOnlyList<string> Ledger() => [.. LedgerScan.Of(Layer).Select(entry => $"{entry.Change} {Layer.Relative(entry.Path)}")];

    /// <summary>Keeps what is at or below these paths.</summary>
    public IReadOnlyList<LedgerEntry> Keep(params string[] paths)
    {
        using LedgerKeeper keeper = LedgerKeeper.Open(Layer);
        return keeper.Keep(Entries(paths));
    }

    public void Forget(params string[] paths)
    {
        using LedgerKeeper keeper = LedgerKeeper.Open(Layer);
        foreach (LedgerEntry entry in Entries(paths).Reverse())
            keeper.Forget(entry);
    }

    public void Dispose()
    {
        if (isMounted)
            End();
        temp.Dispose();
    }

    private IReadOnlyList<LedgerEntry> Entries(string[] paths) =>
        [.. LedgerScan.Of(Layer).Where(entry => paths.Any(path => GhostLayer.IsAtOrBelow(entry.Path, Of(path))))];

    private void Put(string path, string text) => temp.Write(path, text);
}
