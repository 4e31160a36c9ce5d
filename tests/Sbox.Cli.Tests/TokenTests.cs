using System.Security.Cryptography.X509Certificates;
using Sbox.Judges;

namespace Sbox.Cli.Tests;

/// <summary>A key that never leaves its token, as the program itself uses it: SoftHSM is a token in software.</summary>
public sealed class TokenTests : IDisposable
{
    private const string Pin = "1234", Uri = "pkcs11:token=sbox-test;object=db;type=private";
    private readonly string directory = Directory.CreateTempSubdirectory("sbox-token-").FullName;

    public TokenTests()
    {
        Directory.CreateDirectory($"{directory}/tokens");
        File.WriteAllText($"{directory}/softhsm2.conf", $"directories.tokendir = {directory}/tokens\nobjectstore.backend = file\n");
        File.WriteAllText($"{directory}/pin", $"{Pin}\n");
        With("softhsm2-util", "--init-token", "--free", "--label", "sbox-test", "--pin", Pin, "--so-pin", "5678");
        With("pkcs11-tool", "--module", "/usr/lib/softhsm/libsofthsm2.so", "--token-label", "sbox-test", "--login", "--pin", Pin, "--keypairgen", "--key-type", "rsa:2048", "--label", "db", "--id", "01");
    }

    public void Dispose() => Directory.Delete(directory, recursive: true);

    [Fact]
    public void The_key_that_signs_what_boots_may_be_on_a_token_and_then_no_file_has_it()
    {
        string keys = $"{directory}/keys";
        Sbox("keys", "init", keys, "--db-token", Uri, "--passphrase-file", $"{directory}/pin");
        Assert.False(File.Exists($"{keys}/db.key"));
        // Signed by the token, by the key that is there.
        Judge.OnPath("openssl").Run("verify", "-check_ss_sig", "-CAfile", $"{keys}/db.crt", $"{keys}/db.crt");
        With("pkcs11-tool", "--module", "/usr/lib/softhsm/libsofthsm2.so", "--token-label", "sbox-test", "--read-object", "--type", "pubkey", "--label", "db", "--output-file", $"{directory}/public");
        using X509Certificate2 certificate = X509Certificate2.CreateFromPem(File.ReadAllText($"{keys}/db.crt"));
        Assert.Equal(File.ReadAllBytes($"{directory}/public"), certificate.PublicKey.ExportSubjectPublicKeyInfo());

        // A key in a file takes over; the token's goes on signing beside it.
        Sbox("keys", "rotate", keys, "--passphrase-file", $"{directory}/pin");
        Assert.Equal(["db-1.crt", "db-1.uri", "db.auth", "db.crt", "db.key", "db.update.auth"], Directory.GetFiles(keys, "db*").Select(Path.GetFileName).Order(StringComparer.Ordinal));
    }

    [Fact]
    public void With_another_pin_there_is_a_way_out_and_the_pin_is_not_in_it()
    {
        File.WriteAllText($"{directory}/pin", "9876\n");
        Verdict refused = Ask("keys", "init", $"{directory}/keys", "--db-token", Uri, "--passphrase-file", $"{directory}/pin");
        Assert.Equal(1, refused.ExitCode);
        Assert.Contains($"sbox: {Uri}: OpenSSL opens no RSA key there", refused.Error, StringComparison.Ordinal);
        Assert.Contains("pkcs11-tool --list-objects", refused.Error, StringComparison.Ordinal);
        Assert.Empty(Directory.Exists($"{directory}/keys") ? Directory.GetFiles($"{directory}/keys") : []);
    }

    private void Sbox(params string[] arguments)
    {
        Verdict verdict = Ask(arguments);
        Assert.True(verdict.ExitCode == 0, verdict.Error);
    }

    private Verdict Ask(params string[] arguments) => Judge.OnPath("env").Ask(
        [$"SOFTHSM2_CONF={directory}/softhsm2.conf", TestedProgram.Sbox, .. arguments]);

    private void With(params string[] command) => Judge.OnPath("env").Run([$"SOFTHSM2_CONF={directory}/softhsm2.conf", .. command]);
}
