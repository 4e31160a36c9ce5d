using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>Ed25519 signatures of commits, as libostree keeps them: beside the commit, in its detached metadata.</summary>
/// <remarks>docs/formats/commit-signature.md.</remarks>
public static class CommitSignatures
{
    /// <summary>The detached metadata with the signatures, <c>aay</c>.</summary>
    public const string Key = "ostree.sign.ed25519";

    /// <summary>The signatures in detached metadata; none where there are none.</summary>
    public static IReadOnlyList<byte[]> Of(VariantDictionary? detached) =>
        detached?[Key] is { Type.Signature: "aay" } list ? [.. list.Items.Select(static item => item.Bytes)] : [];

    /// <summary>Metadata with a key's signature of a commit in it, once.</summary>
    /// <param name="detached">What lies beside the commit now.</param>
    /// <param name="commit">The commit object's bytes.</param>
    /// <param name="key">Who signs.</param>
    public static VariantDictionary Sign(VariantDictionary detached, ReadOnlySpan<byte> commit, Ed25519Key key)
    {
        byte[] signature = key.Sign(commit);
        IReadOnlyList<byte[]> all = Of(detached);
        // Always the last entry, so that signing again changes no byte.
        if (!all.Any(each => each.AsSpan().SequenceEqual(signature)))
            all = [.. all, signature];
        return detached.With(Key, GVariant.Array(GVariantType.Parse("ay"), [.. all.Select(GVariant.Of)]));
    }

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
}
