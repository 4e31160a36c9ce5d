namespace Sbox.Store;

public sealed partial class Repository
{
    /// <summary>A summary's bytes, nothing of which is written here.</summary>
    /// <exception cref="ObjectMissingException">A branch leads to a commit that is not there.</exception>
    public byte[] MakeSummary(SummaryContent content) => SummaryWriter.Make(this, content);

    /// <summary>A signature of GPG, detached and not armored.</summary>
    /// <param name="data">What is signed.</param>
    /// <param name="keyId">The key, as gpg takes it.</param>
    /// <param name="home">gpg's home directory; null for the user's.</param>
    /// <exception cref="SignatureException">There is no such key, or gpg could not sign.</exception>
    public static byte[] GpgSign(byte[] data, string keyId, string? home) => Gpg.Sign(home, keyId, data);
}
