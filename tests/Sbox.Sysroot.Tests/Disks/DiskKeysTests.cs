using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Judges;

namespace Sbox.Sysroot.Tests;

/// <summary>Who can open a volume, by what cryptsetup says of it.</summary>
public sealed class DiskKeysTests : IDisposable
{
    private readonly string directory = Directory.CreateTempSubdirectory("sbox-disk-").FullName;

    private string Volume => $"{directory}/volume";

    public void Dispose() => Directory.Delete(directory, recursive: true);

    [Fact]
    public void Our_own_token_is_kept_by_cryptsetup_and_says_in_which_state_of_the_firmware_a_TPM_opens_the_volume()
    {
        Make();
        AddKey();
        AddKey();
        AddKey();
        Import("""{"type":"systemd-tpm2","keyslots":["1"],"tpm2-blob":"AA==","tpm2-pcrs":[7,15],"tpm2-policy-hash":"00"}""");
        Import(DiskKeys.Token(1, "07", "dd"));
        Import("""{"type":"systemd-tpm2","keyslots":["2"],"tpm2-blob":"AA==","tpm2-pcrs":[15],"tpm2-policy-hash":"00"}""");
        Import(DiskKeys.Token(2, null, "none"));
        Import("""{"type":"systemd-recovery","keyslots":["3"]}""");
        DiskKeys keys = Look();
        Assert.Equal(4, keys.Slots);
        Assert.Equal([(1, "07", "dd", false), (2, null, "none", true)], keys.Bindings.Select(static each => (each.Slot, each.FirmwareState, each.Revoked, each.IsLoose)));
        Assert.Equal([3], keys.RecoverySlots);
        Assert.Equal([0, 1], keys.Bindings[0].Tokens);
    }

    [Fact]
    public void What_another_program_bound_is_not_ours_and_never_counts_as_loose()
    {
        Make();
        AddKey();
        Import("""{"type":"systemd-tpm2","keyslots":["1"],"tpm2-blob":"AA==","tpm2-pcrs":[7],"tpm2-policy-hash":"00"}""");
        TpmBinding only = Assert.Single(Look().Bindings);
        Assert.Equal((false, false), (only.IsOurs, only.IsLoose));
    }

    [Theory]
    [InlineData("")]
    [InlineData("{}")]
    [InlineData("""{"keyslots":{},"tokens":[]}""")]
    [InlineData("""{"keyslots":{},"tokens":{"0":{"type":"sbox-binding"}}}""")]
    [InlineData("""{"keyslots":{},"tokens":{"0":{"type":"sbox-binding","keyslots":["x"]}}}""")]
    [InlineData("""{"keyslots":{},"tokens":{"0":{"type":"sbox-binding","keyslots":[0]}}}""")]
    public void A_header_that_is_none_is_refused_by_type(string json) => Assert.Throws<MalformedException>(() => DiskKeys.Parse(json));

    [Theory]
    [InlineData("a", "a", false, true, false)]
    [InlineData("a", "b", false, false, false)]
    [InlineData("a", null, true, false, true)]
    [InlineData(null, "a", false, false, false)]
    public void A_disk_is_bound_where_the_TPM_opens_it_with_the_firmware_as_it_is_and_not_otherwise(string? now, string? bound, bool ours, bool isBound, bool isLoose)
    {
        var state = new DiskState(new EncryptedDisk("vda2", "u"), new DiskKeys(2, [new TpmBinding(1, bound, "none") { IsOurs = ours }], []), now, IsFirst: false);
        Assert.Equal((isBound, isLoose, false), (state.IsBound, state.IsLoose, state.HasRecoveryKey));
    }

    private void Make()
    {
        File.WriteAllText($"{directory}/passphrase", "of a test");
        using (FileStream file = File.Create(Volume))
            file.SetLength(20 << 20);
        Cryptsetup(["luksFormat", "--type", "luks2", .. Quick, Volume, $"{directory}/passphrase"]);
    }

    private void AddKey()
    {
        File.WriteAllText($"{directory}/another", $"another {Guid.NewGuid()}");
        Cryptsetup(["luksAddKey", "--key-file", $"{directory}/passphrase", .. Quick, Volume, $"{directory}/another"]);
    }

    private static readonly string[] Quick = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];

    private void Import(string token)
    {
        File.WriteAllText($"{directory}/token", token);
        Cryptsetup(["token", "import", "--json-file", $"{directory}/token", Volume]);
    }

    private DiskKeys Look() => DiskKeys.Parse(Judge.OnPath("cryptsetup").Run("luksDump", "--dump-json-metadata", Volume));

    private static void Cryptsetup(string[] arguments) => Judge.OnPath("cryptsetup").Run([.. arguments, "--batch-mode"]);
}
