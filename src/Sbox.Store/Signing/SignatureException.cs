namespace Sbox.Store;

/// <summary>Something is not signed by anyone who is believed, or keys that were named cannot be used.</summary>
/// <param name="subject">What should have been signed, or the file of keys; null where it is known already.</param>
/// <param name="finding">What is wrong, in libostree's words where it has some.</param>
/// <param name="inner">What it follows from, if anything.</param>
public sealed class SignatureException(string? subject, string finding, Exception? inner = null)
    : RepositoryException(subject is null ? finding : $"{subject}: {finding}", inner)
{
    /// <summary>What should have been signed, or the file of keys; null where the one who asked knows it.</summary>
    public string? Subject { get; } = subject;

    /// <summary>What is wrong.</summary>
    public string Finding { get; } = finding;

    /// <summary>Whether it is a signature that was to be made here; else one that was to be verified.</summary>
    public bool IsOurs { get; internal init; }

    /// <summary>Where it was fetched; null where it was not, or <see cref="Subject"/> is that already.</summary>
    public string? Url { get; private init; }

    /// <summary>The same, of something that was fetched from there.</summary>
    internal SignatureException From(string url) => new(Subject, $"{Finding} (from {HttpTransport.Shown(url)})", InnerException) { Url = HttpTransport.Shown(url) };
}
