namespace Sbox.Store;

/// <summary>What keeps a remote from being believed.</summary>
public enum TrustProblem
{
    /// <summary>A document, or what is kept of one, says something that it may not.</summary>
    Malformed,
    /// <summary>Fewer keys signed than the document asks for.</summary>
    TooFewSigned,
    /// <summary>A document of another version, or of another repository, lies where the next one should.</summary>
    OutOfOrder,
    /// <summary>The document's time is over.</summary>
    Expired,
    /// <summary>The summary is older than the document lets one be, or does not say how old it is.</summary>
    Stale,
    /// <summary>The summary is older than one that was taken before.</summary>
    RolledBack,
    /// <summary>The summary is of a time that this machine's clock has not come to.</summary>
    FromTheFuture,
    /// <summary>The summary knows a newer document than the server shows.</summary>
    Withheld,
    /// <summary>More documents follow than are looked at in one go. Those that were are kept.</summary>
    TooMany,
}

/// <summary>A remote is not believed: by its trust document, or because of it. Nothing of what it offered was taken.</summary>
/// <param name="subject">The file, with its path or address; or what should have been signed.</param>
/// <param name="problem">What kind of thing is wrong.</param>
/// <param name="finding">What is wrong, in words.</param>
public sealed class TrustException(string subject, TrustProblem problem, string finding) : RepositoryException($"{subject}: {finding}")
{
    /// <summary>The file, with its path or address; or what should have been signed.</summary>
    public string Subject { get; } = subject;

    /// <summary>What kind of thing is wrong.</summary>
    public TrustProblem Problem { get; } = problem;
}
