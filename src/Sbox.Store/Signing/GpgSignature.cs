using System.Globalization;
using System.Text;

namespace Sbox.Store;

/// <summary>What GPG says of one signature.</summary>
/// <param name="Fingerprint">Of the key that made it; its last 16 digits where the key is not known.</param>
/// <param name="PrimaryFingerprint">Of the primary key it belongs to; the same where it is that one.</param>
/// <param name="Made">Seconds since 1970.</param>
/// <param name="Expires">Seconds since 1970; 0 for never.</param>
/// <param name="Algorithm">Of the key: RSA, EdDSA.</param>
/// <param name="UserName">The key's owner.</param>
/// <param name="UserEmail">The key's owner; often empty.</param>
/// <param name="Finding">Whether it is good, or why not.</param>
/// <param name="KeyExpires">Seconds since 1970; 0 for never.</param>
/// <param name="PrimaryKeyExpires">Seconds since 1970; 0 for never.</param>
public sealed record GpgSignature(
    string Fingerprint, string PrimaryFingerprint, long Made, long Expires, string Algorithm, string UserName, string UserEmail,
    GpgFinding Finding, long KeyExpires, long PrimaryKeyExpires)
{
    /// <summary>Whether it is good, by a key that is believed and neither revoked nor expired.</summary>
    public bool IsGood => Finding == GpgFinding.Good;

    /// <summary>Lines for people, as libostree writes them.</summary>
    /// <param name="indent">What each line begins with.</param>
    /// <param name="zone">Whose time is shown.</param>
    public string Describe(string indent, TimeZoneInfo zone)
    {
        var text = new StringBuilder();
        Line($"Signature made {Time(Made, zone)} using {Algorithm} key ID {Last16(Fingerprint)}");
        Line(Finding switch
        {
            GpgFinding.KeyMissing => "Can't check signature: public key not found",
            GpgFinding.Good => $"Good signature from \"{UserName} <{UserEmail}>\"",
            GpgFinding.KeyRevoked => "Key revoked",
            GpgFinding.Expired => $"Expired signature from \"{UserName} <{UserEmail}>\"",
            _ => $"BAD signature from \"{UserName} <{UserEmail}>\"",
        });
        bool isSubkey = Finding != GpgFinding.KeyMissing && Fingerprint != PrimaryFingerprint;
        if (isSubkey)
            Line($"Primary key ID {Last16(PrimaryFingerprint)}");
        bool expired = Finding == GpgFinding.KeyExpired;
        if (Expires > 0)
            Line($"Signature {(Finding == GpgFinding.Expired ? "expired" : "expires")} {Time(Expires, zone)}");
        if (KeyExpires > 0)
            Line($"Key {(expired ? "expired" : "expires")} {Time(KeyExpires, zone)}");
        if (PrimaryKeyExpires > 0 && isSubkey)
            Line($"Primary key {(expired ? "expired" : "expires")} {Time(PrimaryKeyExpires, zone)}");
        return text.ToString();

        void Line(string line) => text.Append(indent).Append(line).Append('\n');
    }

    /// <summary>A time as C's <c>%c</c> writes it in the POSIX locale.</summary>
    /// <param name="seconds">Since 1970.</param>
    /// <param name="zone">Whose time is shown.</param>
    public static string Time(long seconds, TimeZoneInfo zone)
    {
        DateTimeOffset at = TimeZoneInfo.ConvertTime(DateTimeOffset.FromUnixTimeSeconds(Math.Clamp(seconds, 0, 253402300799)), zone);
        return string.Create(CultureInfo.InvariantCulture, $"{at:ddd MMM} {at.Day,2} {at:HH:mm:ss yyyy}");
    }

    private static string Last16(string fingerprint) => fingerprint.Length > 16 ? fingerprint[^16..] : fingerprint;
}

/// <summary>Whether a GPG signature is good, or why not.</summary>
public enum GpgFinding
{
    /// <summary>It is.</summary>
    Good,
    /// <summary>The bytes are not what was signed, or are no signature.</summary>
    Bad,
    /// <summary>None of the keys that are believed made it.</summary>
    KeyMissing,
    /// <summary>Its own time is over.</summary>
    Expired,
    /// <summary>The key's time is over.</summary>
    KeyExpired,
    /// <summary>The key was revoked.</summary>
    KeyRevoked,
}
