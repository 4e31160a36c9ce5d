using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>Signatures of commits, as libostree keeps them: beside the commit, in its detached metadata.</summary>
/// <remarks>docs/formats/commit-signature.md.</remarks>
public static class CommitSignatures
{
    /// <summary>The detached metadata with Ed25519 signatures, <c>aay</c>.</summary>
    public const string Key = "ostree.sign.ed25519";

    /// <summary>The detached metadata with GPG signatures, <c>aay</c>.</summary>
    public const string GpgKey = "ostree.gpgsigs";

    /// <summary>The signatures in detached metadata; none where there are none.</summary>
    public static IReadOnlyList<byte[]> Of(VariantDictionary? detached) => Of(detached, Key);

    /// <summary>Metadata with a key's signature of a commit in it, once.</summary>
    /// <param name="detached">What lies beside the commit now.</param>
    /// <param name="commit">The commit object's bytes.</param>
    /// <param name="key">Who signs.</param>
    public static VariantDictionary Sign(VariantDictionary detached, ReadOnlySpan<byte> commit, Ed25519Key key) => Add(detached, Key, key.Sign(commit));

    /// <summary>Whether one of the signatures is the key's.</summary>
    public static bool Verify(VariantDictionary? detached, ReadOnlySpan<byte> commit, Ed25519PublicKey key)
    {
        foreach (byte[] signature in Of(detached))
        {
            if (key.Verify(commit, signature))
                return true;
        }

        return false;
    }

    /// <summary>The signatures of one kind.</summary>
    public static IReadOnlyList<byte[]> Of(VariantDictionary? detached, string key) =>
        detached?[key] is { Type.Signature: "aay" } list ? [.. list.Items.Select(static item => item.Bytes)] : [];

    /// <summary>Metadata with one signature more, once.</summary>
    internal static VariantDictionary Add(VariantDictionary detached, string key, byte[] signature)
    {
        IReadOnlyList<byte[]> all = Of(detached, key);
        // Always the last entry, so that signing again changes no byte.
        return With(detached, key, all.Any(each => each.AsSpan().SequenceEqual(signature)) ? all : [.. all, signature]);
    }

    /// <summary>Metadata with signatures of several kinds more, each once.</summary>
    internal static VariantDictionary AddAll(VariantDictionary detached, VariantDictionary signatures)
    {
        foreach (string key in signatures.Keys)
        {
            foreach (byte[] signature in Of(signatures, key))
                detached = Add(detached, key, signature);
        }

        return detached;
    }

    /// <summary>Metadata with these signatures of one kind; without an entry where there is none.</summary>
    internal static VariantDictionary With(VariantDictionary detached, string key, IReadOnlyList<byte[]> signatures) => signatures.Count == 0
        ? detached.Without(key)
        : detached.With(key, GVariant.Array(GVariantType.Parse("ay"), [.. signatures.Select(GVariant.Of)]));
}
