using System.Diagnostics;
using System.Security.Cryptography;
using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Judges;

namespace Sbox.Sysroot.Tests;

/// <summary>Who can open a volume, by what cryptsetup says of it.</summary>
public sealed class DiskKeysTests : IDisposable
{
    private static readonly string Victim = Path.Combine(AppContext.BaseDirectory, "Sbox.Sysroot.Victim");
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
    public void What_another_program_bound_is_not_ours()
    {
        Make();
        AddKey();
        Import("""{"type":"systemd-tpm2","keyslots":["1"],"tpm2-blob":"AA==","tpm2-pcrs":[7],"tpm2-policy-hash":"00"}""");
        TpmBinding only = Assert.Single(Look().Bindings);
        Assert.Equal((false, false, false), (only.IsOurs, only.IsLoose, only.IsLooseForGood));
    }

    [Fact]
    public void What_another_program_bound_without_Secure_Boot_is_loose_for_good_and_stays_its_owners()
    {
        Make();
        AddKey();
        Import("""{"type":"systemd-tpm2","keyslots":["1"],"tpm2-blob":"AA==","tpm2-pcrs":[0,2],"tpm2-policy-hash":"00"}""");
        TpmBinding only = Assert.Single(Look().Bindings);
        Assert.Equal((false, true, true), (only.IsOurs, only.IsLoose, only.IsLooseForGood));
        Assert.Contains("slot 1, which another program bound", Assert.Single(Clean()), StringComparison.Ordinal);
        Assert.Equal(2, Look().Slots);
    }

    [Theory]
    [InlineData("[15]", true)]
    [InlineData("[7,15]", false)]
    public void A_binding_that_was_cut_short_before_our_token_came_is_judged_by_systemds_and_taken_out(string registers, bool isLoose)
    {
        Make();
        AddKey();
        AddKey();
        Import(OfSystemd(1, "[7,15]"));
        Import(DiskKeys.Token(1, "07", "dd"));
        Import(OfSystemd(2, registers));
        TpmBinding left = Look().Bindings[1];
        Assert.Equal((true, false, isLoose, false), (left.IsOurs, left.IsWhole, left.IsLoose, left.IsLooseForGood));
        var state = new DiskState(new EncryptedDisk("vda2", "u"), Look(), "07", IsFirst: false);
        Assert.Equal((true, isLoose), (state.IsBound, state.IsLoose));
        Assert.Contains("cut short", Assert.Single(Clean()), StringComparison.Ordinal);
        Assert.Equal(2, Look().Slots);
        Assert.Equal(1, Assert.Single(Look().Bindings).Slot);
        Assert.Empty(Clean());
    }

    [Fact]
    public void What_real_systemd_cryptenroll_makes_of_a_TPM_is_one_of_ours_that_was_cut_short_until_our_token_is_there()
    {
        Make();
        using (RSA key = RSA.Create(2048))
            File.WriteAllText($"{directory}/pcr.pub", key.ExportSubjectPublicKeyInfoPem());
        _ = (Judge.OnPath("swtpm"), Judge.OnPath("systemd-cryptenroll"));
        OnLoop(device => Judge.OnPath("sh").Run("-ec", $"""
            mkdir {directory}/tpm; chmod 600 {directory}/passphrase
            swtpm socket --tpm2 --tpmstate dir={directory}/tpm --server type=unixio,path={directory}/tpm/socket --ctrl type=unixio,path={directory}/tpm/socket.ctrl --flags not-need-init,startup-clear --seccomp action=none --daemon --pid file={directory}/tpm/pid
            trap 'kill $(cat {directory}/tpm/pid)' EXIT
            for registers in 7+15 15; do
              systemd-cryptenroll --unlock-key-file={directory}/passphrase --tpm2-device=swtpm:path={directory}/tpm/socket --tpm2-public-key={directory}/pcr.pub --tpm2-public-key-pcrs=11 --tpm2-pcrs=$registers {device}
            done
            """));
        DiskKeys keys = Look();
        Assert.Equal([(1, false), (2, true)], keys.Bindings.Select(static each => (each.Slot, each.IsLoose)));
        Assert.All(keys.Bindings, each => Assert.Equal((true, false, File.ReadAllText($"{directory}/pcr.pub")), (each.IsOurs, each.IsWhole, each.PublicKey)));
        Import(DiskKeys.Token(1, "07", "dd"));
        Assert.Equal([true, false], Look().Bindings.Select(static each => each.IsWhole));
        Assert.Single(Clean());
        Assert.Equal(1, Assert.Single(Look().Bindings).Slot);
    }

    [Fact]
    public void A_token_of_ours_that_says_more_than_the_TPM_goes_by_binds_nothing()
    {
        Make();
        AddKey();
        Import(OfSystemd(1, "[15]"));
        Import(DiskKeys.Token(1, "07", "dd"));
        var state = new DiskState(new EncryptedDisk("vda2", "u"), Look(), "07", IsFirst: false);
        Assert.Equal((false, true), (state.IsBound, state.IsLoose));
    }

    [Fact]
    public void The_boxs_own_key_is_made_once_though_that_is_cut_short_before_it_has_its_name()
    {
        Make();
        string file = $"{directory}/{EncryptedDisk.KeyFile}";
        OnLoop(device =>
        {
            var keeper = new DiskKeeper(new EncryptedDisk(Path.GetFileName(device), "u"), directory);
            keeper.MakeOwnKey("of a test");
            File.Move(file, $"{file}.new"); // as it is in the moment before
            keeper.MakeOwnKey("of a test");
            Assert.Equal(2, Look().Slots);

            // Cut before it was a key of the volume, the file opens nothing.
            File.Move(file, $"{file}.new");
            File.WriteAllText($"{file}.new", "half of i");
            keeper.MakeOwnKey("of a test");
        });
        Assert.Equal(3, Look().Slots);
        Assert.Equal("600", Judge.OnPath("stat").Run("-c", "%a", file).Trim());
        Judge.OnPath("cryptsetup").Run("open", "--test-passphrase", "--key-file", file, Volume);
    }

    [Fact]
    public void What_was_loose_for_one_boot_goes_and_what_is_of_another_dbx_and_a_cut_amid_that_leaves_nothing()
    {
        Make();
        AddKey();
        AddKey();
        AddKey();
        AddKey();
        foreach ((int slot, string? state, string revoked) in new (int, string?, string)[] { (1, "07", "dd"), (2, null, "dd"), (3, "08", "dd"), (4, "07", "ee") })
        {
            Import(OfSystemd(slot, state is null ? "[15]" : "[7,15]"));
            Import(DiskKeys.Token(slot, state, revoked));
        }

        // The version that it was loosened for has not run yet.
        Assert.Empty(Clean(anotherIsNext: true));
        Assert.Equal(4, Look().Bindings.Count);
        // Its slot is gone, and its tokens not yet.
        Cryptsetup(["luksKillSlot", Volume, "2"]);
        Assert.Equal(2, Look().UnusedTokens.Count);
        Assert.Empty(Clean());
        DiskKeys keys = Look();
        Assert.Empty(keys.UnusedTokens);
        Assert.Equal([1, 3, 4], keys.Bindings.Select(static each => each.Slot)); // 4 is for the firmware as it is, whatever it says of dbx
        Assert.Contains("before the revocation", Assert.Single(Clean(now: "07", revoked: "ee")), StringComparison.Ordinal);
        Assert.Equal([1, 4], Look().Bindings.Select(static each => each.Slot));
    }

    [Fact]
    public void Two_processes_that_make_a_recovery_key_at_once_leave_one_key_and_it_is_one_that_was_shown()
    {
        MakeWithOwnKey();
        string[] shown = [];
        OnLoop(device => shown = AtOnce(device, "recovery-key", "recovery-key", "recovery-key"));
        Assert.Equal(shown.Length, shown.Distinct().Count());
        Assert.Single(Look().RecoverySlots);
        Assert.Single(shown, key =>
        {
            File.WriteAllText($"{directory}/typed", key);
            return Judge.OnPath("cryptsetup").Ask("open", "--test-passphrase", "--key-file", $"{directory}/typed", Volume).ExitCode == 0;
        });
    }

    [Fact]
    public void What_another_process_is_just_binding_is_not_taken_for_what_was_cut_short()
    {
        MakeWithOwnKey();
        AddKey();
        Import(OfSystemd(2, "[7,15]"));
        Import(DiskKeys.Token(2, "07", "none"));
        Directory.CreateDirectory($"{directory}/sys/class/tpm/tpm0/pcr-sha256");
        File.WriteAllText($"{directory}/sys/class/tpm/tpm0/pcr-sha256/7", "07\n");
        // As slow as a TPM, between systemd's token and ours.
        Script.Write($"{directory}/systemd-cryptenroll", $$"""
            set -e
            for device; do :; done
            echo another >{{directory}}/loose
            cryptsetup luksAddKey --batch-mode --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file {{directory}}/{{EncryptedDisk.KeyFile}} $device {{directory}}/loose
            echo '{{OfSystemd(3, "[15]")}}' | cryptsetup token import --json-file - $device
            touch {{directory}}/half
            sleep 1
            echo 'New TPM2 token enrolled as key slot 3.'
            """);
        OnLoop(device => Assert.Equal("True", AtOnce(device, "loosen", "bind")[0]));
        Assert.Equal([(2, false, true), (3, true, true)], Look().Bindings.Select(static each => (each.Slot, each.IsLoose, each.IsWhole)));
    }

    [Fact]
    public void What_was_loosened_in_this_boot_is_for_the_next_one_and_goes_in_that()
    {
        Make();
        AddKey();
        Import(OfSystemd(1, "[15]"));
        Import(DiskKeys.Token(1, null, "dd", loosenedIn: "this"));
        Assert.Empty(Clean(boot: "this"));
        Assert.Single(Look().Bindings);
        Assert.Contains("opens only so from now on", Assert.Single(Clean(boot: "next")), StringComparison.Ordinal);
        Assert.Empty(Look().Bindings);
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
    [InlineData("a", "a", true, true, false)]
    [InlineData("a", "a", false, false, false)]
    [InlineData("a", "b", true, false, false)]
    [InlineData("a", null, true, false, true)]
    [InlineData(null, "a", true, false, false)]
    public void A_disk_is_bound_where_the_TPM_opens_it_with_the_firmware_as_it_is_and_not_otherwise(string? now, string? bound, bool ours, bool isBound, bool isLoose)
    {
        var state = new DiskState(new EncryptedDisk("vda2", "u"), new DiskKeys(2, [new TpmBinding(1, bound is null ? [15] : [7, 15], bound, "none") { IsOurs = ours, IsWhole = ours }], []), now, IsFirst: false);
        Assert.Equal((isBound, isLoose, false), (state.IsBound, state.IsLoose, state.HasRecoveryKey));
    }

    [Fact]
    public void A_disk_is_bound_only_for_the_pcr_key_of_the_version_that_runs_and_what_goes_by_another_stays_for_going_back()
    {
        using RSA old = RSA.Create(2048), next = RSA.Create(2048);
        Make();
        AddKey();
        Import(OfSystemd(1, "[7,15]", old.ExportSubjectPublicKeyInfoPem()));
        Import(DiskKeys.Token(1, "07", "dd"));
        bool IsBound(string? signer) => new DiskState(new EncryptedDisk("vda2", "u"), Look(), "07", IsFirst: false) { Signer = signer }.IsBound;
        Assert.Equal((true, false, true), (IsBound($"{old.ExportSubjectPublicKeyInfoPem()}\n"), IsBound(next.ExportSubjectPublicKeyInfoPem()), IsBound(null)));
        AddKey();
        Import(OfSystemd(2, "[7,15]", next.ExportSubjectPublicKeyInfoPem()));
        Import(DiskKeys.Token(2, "07", "dd"));
        Assert.True(IsBound(next.ExportSubjectPublicKeyInfoPem()));
        Assert.Empty(Clean(signer: next.ExportSubjectPublicKeyInfoPem()));
        Assert.Equal([1, 2], Look().Bindings.Select(static each => each.Slot));
        Assert.All(Clean(now: "08", revoked: "ee", signer: next.ExportSubjectPublicKeyInfoPem()), static line => Assert.Contains("before the revocation", line, StringComparison.Ordinal));
        Assert.Empty(Look().Bindings);
    }

    // All of them, the first a moment ahead where it leaves a half-made binding; what each says.
    private string[] AtOnce(string device, params string[] deeds)
    {
        Process Start(string deed)
        {
            var start = new ProcessStartInfo(Victim, [deed, directory, Path.GetFileName(device)]) { RedirectStandardOutput = true };
            start.Environment["PATH"] = $"{directory}:{Environment.GetEnvironmentVariable("PATH")}";
            return Process.Start(start)!;
        }

        var running = new List<Process> { Start(deeds[0]) };
        for (int waited = 0; deeds[0] == "loosen" && !File.Exists($"{directory}/half") && waited < 600; waited++)
            Thread.Sleep(100);
        running.AddRange(deeds[1..].Select(Start));
        return [.. running.Select(static process =>
        {
            using (process)
            {
                string said = process.StandardOutput.ReadToEnd().Trim();
                process.WaitForExit();
                Assert.Equal(0, process.ExitCode);
                return said;
            }
        })];
    }

    private void MakeWithOwnKey()
    {
        Make();
        OnLoop(device => new DiskKeeper(new EncryptedDisk(Path.GetFileName(device), "u"), directory).MakeOwnKey("of a test"));
    }

    private List<string> Clean(string now = "07", string revoked = "dd", bool anotherIsNext = false, string? signer = null, string? boot = null)
    {
        var said = new List<string>();
        OnLoop(device => new DiskKeeper(new EncryptedDisk(Path.GetFileName(device), "u"), directory).Clean(new DiskState(new EncryptedDisk("vda2", "u"), Look(), now, IsFirst: false) { Signer = signer, Boot = boot }, revoked, anotherIsNext, said.Add));
        return said;
    }

    private void OnLoop(Action<string> act)
    {
        string device = Judge.OnPath("losetup").Run("--find", "--show", Volume).Trim();
        try
        {
            act(device);
        }
        finally
        {
            Judge.OnPath("losetup").Run("--detach", device);
        }
    }

    // As systemd-cryptenroll 257 writes it.
    private static string OfSystemd(int slot, string registers, string signer = "\0") =>
        $$"""{"type":"systemd-tpm2","keyslots":["{{slot}}"],"tpm2-blob":"AA==","tpm2-pcrs":{{registers}},"tpm2-pcr-bank":"sha256","tpm2-policy-hash":"00","tpm2_pubkey_pcrs":[11],"tpm2_pubkey":"{{Convert.ToBase64String(System.Text.Encoding.ASCII.GetBytes(signer))}}"}""";

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
