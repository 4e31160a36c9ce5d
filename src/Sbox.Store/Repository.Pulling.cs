using Sbox.Codecs;

namespace Sbox.Store;

public sealed partial class Repository
{
    /// <summary>Takes refs and what they need from a repository on this machine: hardlinked where both are bare on one file system, else converted.</summary>
    /// <param name="source">Where from.</param>
    /// <param name="options">What to take.</param>
    /// <param name="progress">Told every now and then.</param>
    /// <param name="cancel">Looked at between objects; objects that came by then are used again by the next pull.</param>
    /// <exception cref="RefNotFoundException">The source has no such ref.</exception>
    /// <exception cref="ObjectMissingException">The source lacks an object that a commit needs.</exception>
    /// <exception cref="ObjectCorruptException">An object of the source is not what its name says.</exception>
    public PullResult PullLocal(
        Repository source, PullLocalOptions? options = null, IProgress<PullProgress>? progress = null, CancellationToken cancel = default) =>
        new LocalPull(source, this, options ?? new PullLocalOptions(), progress, cancel).Run();

    /// <summary>Takes refs and what they need from a repository served over HTTP. Every object is hashed before it is kept.</summary>
    /// <param name="options">What to take, and from where.</param>
    /// <param name="progress">Told every now and then.</param>
    /// <param name="cancel">Ends the pull; objects that came by then are used again by the next one.</param>
    /// <exception cref="PullException">Something could not be fetched, or is not what it should be; names the URL.</exception>
    public Task<PullResult> Pull(PullOptions options, IProgress<PullProgress>? progress = null, CancellationToken cancel = default) =>
        throw new NotSupportedException("pulling is not there yet");
}
