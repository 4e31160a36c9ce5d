using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Delivery.Tests;

/// <summary>A home directory of gpg with one key; its agent ends with it.</summary>
internal sealed class GpgHome : IDisposable
{
    public const string Owner = "publisher@example.org";
    private readonly string path;

    public GpgHome(string path)
    {
        this.path = path;
        Directory.CreateDirectory(path);
        using (Dir home = Dir.Open(path))
            home.ChangeMode(".", 0x1C0 /* 0700 */);
        Run("--passphrase", "", "--quick-generate-key", Owner, "ed25519", "sign", "never");
    }

    /// <summary>Signs as <c>--gpg-sign</c> does.</summary>
    public VariantDictionary Sign(byte[] bytes) => VariantDictionary.Empty.With(
        CommitSignatures.GpgKey, GVariant.Array(GVariantType.Parse("ay"), GVariant.Of(Repository.GpgSign(bytes, Owner, path))));

    /// <summary>Writes the public key to a file.</summary>
    public string Export(string file)
    {
        Run("--output", file, "--export", Owner);
        return file;
    }

    public void Dispose() => Judge.OnPath("gpgconf").Ask("--homedir", path, "--kill", "all");

    private void Run(params string[] arguments) => Judge.OnPath("gpg").Run(["--batch", "--quiet", "--homedir", path, .. arguments]);
}
