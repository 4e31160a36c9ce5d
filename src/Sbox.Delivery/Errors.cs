namespace Sbox.Delivery;

/// <summary>Something about a published repository, or the place of one, stops the work; the kinds below say what.</summary>
/// <param name="message">The place and the finding.</param>
/// <param name="cause">What it came from, where there is such.</param>
public abstract class DeliveryException(string message, Exception? cause = null) : IOException(message, cause);

/// <summary>The place did not do what it was asked.</summary>
/// <param name="location">The place, or the file in it.</param>
/// <param name="finding">What it said.</param>
/// <param name="isTransient">Whether the same may work a little later.</param>
/// <param name="cause">What it came from.</param>
public sealed class PlaceFailedException(string location, string finding, bool isTransient, Exception? cause = null) : DeliveryException($"{location}: {finding}", cause)
{
    /// <summary>The place, or the file in it.</summary>
    public string Location { get; } = location;

    /// <summary>Whether the same may work a little later.</summary>
    public bool IsTransient { get; } = isTransient;
}

/// <summary>The place is none that can be published to.</summary>
/// <param name="location">The place.</param>
/// <param name="finding">What is there, or not.</param>
public sealed class PlaceUnfitException(string location, string finding) : DeliveryException($"{location}: {finding}")
{
    /// <summary>The place.</summary>
    public string Location { get; } = location;
}

/// <summary>Somebody else publishes there.</summary>
/// <param name="location">The place.</param>
/// <param name="since">Since when, where it is known.</param>
public sealed class PlaceBusyException(string location, DateTimeOffset? since = null)
    : DeliveryException($"{location}: somebody else publishes there{(since is { } time ? $", and said so last at {time.UtcDateTime:yyyy-MM-dd HH:mm:ss} UTC" : "")}")
{
    /// <summary>The place.</summary>
    public string Location { get; } = location;
}

/// <summary>What was to be published cannot be: a commit of it is not whole, or has no name there.</summary>
/// <param name="subject">The branch or commit.</param>
/// <param name="finding">Why it cannot.</param>
public sealed class NotPublishableException(string subject, string finding) : DeliveryException($"{subject}: {finding}")
{
    /// <summary>The branch or commit.</summary>
    public string Subject { get; } = subject;
}

/// <summary>The summary that is there is signed, and the new one would not be.</summary>
/// <param name="location">The place.</param>
public sealed class SignatureWantedException(string location) : DeliveryException($"{location}: the summary there is signed, and no key was given to sign the new one")
{
    /// <summary>The place.</summary>
    public string Location { get; } = location;
}

/// <summary>The summary that is there names branches that are not published now, and nothing says that whoever signs has signed them before.</summary>
/// <param name="location">The place.</param>
/// <param name="branches">Those branches.</param>
public sealed class UnknownBranchesException(string location, IReadOnlyList<string> branches)
    : DeliveryException($"{location}: the summary there also names {string.Join(", ", branches)}, and bears no signature of these keys: anybody may have put that there")
{
    /// <summary>The place.</summary>
    public string Location { get; } = location;

    /// <summary>Those branches.</summary>
    public IReadOnlyList<string> Branches { get; } = branches;
}

/// <summary>A directory of trust documents is not as it must be for what was asked.</summary>
/// <param name="location">The directory.</param>
/// <param name="finding">What is missing or in the way.</param>
public sealed class TrustHistoryException(string location, string finding) : DeliveryException($"{location}: {finding}")
{
    /// <summary>The directory.</summary>
    public string Location { get; } = location;
}

/// <summary>The summary there is of a time that this machine's clock has not come to: boxes that have taken it take no older one.</summary>
/// <param name="location">The place.</param>
/// <param name="there">When that summary was made.</param>
/// <param name="now">What the clock says.</param>
public sealed class SummaryAheadException(string location, DateTimeOffset there, DateTimeOffset now) : DeliveryException(
    $"{location}/summary: it is of {there.UtcDateTime:yyyy-MM-dd HH:mm:ss} UTC, and this machine's clock says {now.UtcDateTime:yyyy-MM-dd HH:mm:ss} UTC: boxes that have taken it take no older one")
{
    /// <summary>The place.</summary>
    public string Location { get; } = location;

    /// <summary>When that summary was made.</summary>
    public DateTimeOffset There { get; } = there;
}

/// <summary>A mirror is to be published, and what is there is not what it is a mirror of, as far as its trust documents tell.</summary>
/// <param name="location">The file there.</param>
/// <param name="finding">What tells so.</param>
public sealed class OtherPublicationException(string location, string finding) : DeliveryException($"{location}: {finding}: another repository may be published there")
{
    /// <summary>The file there.</summary>
    public string Location { get; } = location;
}

/// <summary>A mirror is to be published, and boxes would refuse the summary that its source signed.</summary>
/// <param name="subject">The mirror's summary.</param>
/// <param name="finding">Why they would.</param>
public sealed class MirrorOutdatedException(string subject, string finding) : DeliveryException($"{subject}: {finding}")
{
    /// <summary>The mirror's summary.</summary>
    public string Subject { get; } = subject;
}

/// <summary>What is published there goes by a newer trust document than the one that was given, or by another one.</summary>
/// <param name="location">The place, or the document in it.</param>
/// <param name="finding">What is there.</param>
public sealed class TrustBehindException(string location, string finding) : DeliveryException($"{location}: {finding}")
{
    /// <summary>The place, or the document in it.</summary>
    public string Location { get; } = location;
}
