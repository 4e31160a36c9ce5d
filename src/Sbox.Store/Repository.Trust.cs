using Sbox.Linux;

namespace Sbox.Store;

/// <summary>What a repository believes of a remote.</summary>
/// <param name="Document">The trust document.</param>
/// <param name="NewestSummary">When the newest summary was made that was taken from there; null where none was.</param>
/// <param name="Path">The file that says so.</param>
public sealed record RemoteTrustState(TrustDocument Document, DateTimeOffset? NewestSummary, string Path);

public sealed partial class Repository
{
    /// <summary>The trust document that a remote is believed by, and what was taken by it; null where it has none.</summary>
    /// <exception cref="TrustException">What is kept of it cannot be read.</exception>
    public RemoteTrustState? Trust(string remote)
    {
        if (!TrustState.CanKeep(remote))
            return null;
        var state = new TrustState(this, remote);
        return state.Load() is { } kept ? new RemoteTrustState(TrustDocument.Parse(kept.Path, kept.Bytes), state.NewestSummary(), kept.Path) : null;
    }

    /// <summary>Believes a remote by a document from now on, in place of whatever it was believed by. To be done at its owner's word alone.</summary>
    /// <param name="remote">The remote.</param>
    /// <param name="bytes">The document, as it is signed.</param>
    /// <exception cref="RemoteNotFoundException">There is no such remote.</exception>
    /// <exception cref="TrustException">It is no document.</exception>
    public void BeginTrust(string remote, ReadOnlySpan<byte> bytes)
    {
        var state = new TrustState(this, RequireRemote(remote));
        TrustDocument.Parse(state.Path, bytes);
        state.Begin(bytes);
    }

    /// <summary>Believes a remote as its settings alone say, from now on.</summary>
    /// <returns>Whether it was believed by a document that was kept here.</returns>
    public bool EndTrust(string remote) => TrustState.CanKeep(remote) && new TrustState(this, remote).Forget();

    /// <summary>Whether this is the machine's own repository, by whatever path it was opened.</summary>
    internal bool IsOfMachine
    {
        get
        {
            FileStat here = Dir.Stat();
            return Dir.TryStat("/ostree/repo") is { } own && own.Inode == here.Inode && own.Device == here.Device;
        }
    }
}
