using Sbox.Codecs;

namespace Sbox.Sysroot;

/// <summary>A branch and whose it is: <c>REMOTE:REF</c>, or <c>REF</c> for a local one.</summary>
/// <param name="Remote">The remote's name in the repository's config; null for a local branch.</param>
/// <param name="Ref">The branch.</param>
public sealed record Refspec(string? Remote, string Ref)
{
    /// <summary>Reads one.</summary>
    /// <exception cref="MalformedException">There is no branch, or an empty remote.</exception>
    public static Refspec Parse(string text)
    {
        int colon = text.IndexOf(':', StringComparison.Ordinal);
        string branch = text[(colon + 1)..];
        return branch.Length > 0 && colon != 0
            ? new Refspec(colon < 0 ? null : text[..colon], branch)
            : throw new MalformedException("refspec", "text", "REMOTE:REF or REF", $"'{text}'");
    }

    /// <summary>As it is written.</summary>
    public override string ToString() => Remote is null ? Ref : $"{Remote}:{Ref}";
}
