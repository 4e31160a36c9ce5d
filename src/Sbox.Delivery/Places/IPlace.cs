namespace Sbox.Delivery;

/// <summary>How long a file of a published repository stays what it is.</summary>
public enum Lifetime
{
    /// <summary>For ever: its name says its content, or nothing ever takes its place.</summary>
    Immutable,
    /// <summary>Until the next publication.</summary>
    Mutable,
}

/// <summary>
/// A place that readers take a repository from by a static server: whole files, by their paths. Nothing of what it answers is trusted with
/// more than what is already there. Safe on several threads, but for <see cref="Settle"/>.
/// </summary>
public interface IPlace : IAsyncDisposable
{
    /// <summary>The place as a person wrote it, without secrets.</summary>
    string Location { get; }

    /// <summary>How many files are worth having under way at once.</summary>
    int Connections { get; }

    /// <summary>Whether names that differ by case alone are two names.</summary>
    bool KeepsCase { get; }

    /// <summary>How long a reader may go on seeing a mutable file that was replaced.</summary>
    TimeSpan Staleness { get; }

    /// <summary>Keeps others from publishing there; given back when disposed. What a publication before it left half done is cleared away.</summary>
    /// <exception cref="PlaceBusyException">Somebody else publishes there.</exception>
    /// <exception cref="PlaceUnfitException">Something else is there.</exception>
    Task<IAsyncDisposable> Open(CancellationToken cancel);

    /// <summary>Those of some paths of immutable files that are not there.</summary>
    Task<IReadOnlyList<string>> Missing(IReadOnlyCollection<string> paths, CancellationToken cancel);

    /// <summary>A small file's bytes; null where there is none.</summary>
    Task<byte[]?> TryRead(string path, CancellationToken cancel);

    /// <summary>Writes a file as a whole. It may not be there before <see cref="Settle"/>, and is never there in part.</summary>
    /// <param name="path">Its path; what is there is replaced.</param>
    /// <param name="content">Its bytes, from the beginning; may be read again.</param>
    /// <param name="lifetime">How long it stays.</param>
    /// <param name="cancel">Ends it.</param>
    Task Write(string path, Stream content, Lifetime lifetime, CancellationToken cancel);

    /// <summary>Whatever was written is there on return, and survives a power cut before anything that is written later.</summary>
    Task Settle(CancellationToken cancel);

    /// <summary>Deletes a file; one that is not there is deleted already.</summary>
    Task Delete(string path, CancellationToken cancel);
}
