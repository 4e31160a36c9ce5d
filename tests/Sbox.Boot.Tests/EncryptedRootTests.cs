using System.Security.Cryptography;
using System.Text;
using CsCheck;
using Sbox.Judges;

namespace Sbox.Boot.Tests;

/// <summary>What is found out about an encrypted root, and said to a TPM, without one. The whole road is walked in QEMU: Sbox.Tour.Tests.</summary>
public sealed class EncryptedRootTests : IDisposable
{
    private const string One = "8d158d2f-9e0e-4d50-9565-b207757096c5", Other = "0f2a4c1e-5b7d-4e9f-8a1b-2c3d4e5f6a7b";
    private readonly string directory = Directory.CreateTempSubdirectory("sbox-luks-").FullName;

    public void Dispose() => Directory.Delete(directory, recursive: true);

    [Fact]
    public void A_volume_that_cryptsetup_made_says_its_label_and_its_uuid()
    {
        string volume = Volume();
        Superblock found = Superblock.Parse(File.ReadAllBytes(volume).AsSpan(0, Superblock.Length))!;
        Assert.Equal((Superblock.Luks, "sbox-root", Judge.OnPath("cryptsetup").Run("luksUUID", volume).Trim()), (found.Type, found.Label, found.Uuid));
    }

    [Theory]
    [InlineData("LABEL=sbox-root", true)]
    [InlineData("LABEL=other", false)]
    [InlineData("/dev/vda2", true)]
    public void A_root_is_looked_for_in_it(string root, bool found)
    {
        Directory.CreateDirectory($"{directory}/sys/class/block/vda2");
        Directory.CreateDirectory($"{directory}/dev");
        File.WriteAllText($"{directory}/sys/class/block/vda2/size", "40960\n");
        File.Copy(Volume(), $"{directory}/dev/vda2");
        Assert.Equal(found, new Disks(root, $"{directory}/sys", $"{directory}/dev").Look() is { Superblock.Type: Superblock.Luks });
    }

    [Fact]
    public void The_moment_is_closed_by_a_word_that_is_its_own_digest()
    {
        Assert.Equal(SHA256.HashData("sbox-root: a root was chosen"u8), TpmRegister.RootChosen.ToArray());
        byte[] command = TpmRegister.Command();
        Assert.Equal("8002 00000041 00000182 0000000f".Replace(" ", "", StringComparison.Ordinal), Convert.ToHexStringLower(command.AsSpan(0, 14)));
        Assert.Equal(0x41, command.Length);
    }

    [Fact]
    public void Without_a_TPM_there_is_nothing_to_close()
    {
        Close(static line => Assert.Fail(line));
        Assert.Equal("this machine has none", TpmRegister.Absence(directory));
    }

    [Theory]
    [InlineData("firmware/acpi/tables/TPM2", "")]
    [InlineData("class/tpm/tpm0/tpm_version_major", "2\n")]
    public void A_TPM_that_the_firmware_or_the_kernel_tells_of_is_waited_for_and_where_it_stays_away_the_boot_goes_on_and_says_so_now_and_later(string file, string text)
    {
        Told(file, text);
        TimeSpan moment = TimeSpan.FromMilliseconds(50);
        Assert.False(TpmRegister.IsThere(static _ => { }, directory, directory, moment));
        var said = new List<string>();
        long started = System.Diagnostics.Stopwatch.GetTimestamp();
        Close(said.Add, limit: moment);
        Assert.True(System.Diagnostics.Stopwatch.GetElapsedTime(started) >= moment);
        string line = Assert.Single(said);
        Assert.Contains("it did not come, so register 15 was not extended; the boot goes on", line, StringComparison.Ordinal);
        Assert.Equal(line, TpmRegister.OpenSince(directory));
        Assert.Contains("it did not come", TpmRegister.Absence(directory), StringComparison.Ordinal);
    }

    [Fact]
    public void A_TPM_that_stays_away_ends_a_sealed_boot_that_it_may_give_keys_where_the_signed_command_line_requires_it_and_no_other_boot()
    {
        Told("firmware/acpi/tables/TPM2", "");
        TimeSpan moment = TimeSpan.FromMilliseconds(50);
        Assert.Contains("sbox.tpm=required", Assert.Throws<NoRootException>(() => Close(static _ => { }, isRequired: true, limit: moment)).Message, StringComparison.Ordinal);
        var said = new List<string>();
        Close(said.Add, isSealed: false, isRequired: true, limit: TimeSpan.FromHours(1)); // nothing is waited for there
        Close(said.Add, givesKeys: false, isRequired: true, limit: moment);
        Assert.Equal(2, said.Count);
        Assert.All(said, static line => Assert.EndsWith("register 15 was not extended; this version is given no key by it, and the boot goes on", line, StringComparison.Ordinal));
        Assert.Null(TpmRegister.OpenSince(directory));
    }

    private void Close(Action<string> say, bool isSealed = true, bool givesKeys = true, bool isRequired = false, TimeSpan? limit = null) =>
        TpmRegister.Close(isSealed, givesKeys, isRequired, say, directory, directory, directory, limit);

    [Fact]
    public async Task A_TPM_that_comes_late_is_asked()
    {
        Told("firmware/acpi/tables/TPM2", "");
        Task late = Task.Run(async () =>
        {
            await Task.Delay(200);
            File.WriteAllText($"{directory}/tpmrm0.new", "");
            File.Move($"{directory}/tpmrm0.new", $"{directory}/tpmrm0");
        });
        Assert.True(TpmRegister.IsThere(static _ => { }, directory, directory, TimeSpan.FromMinutes(5)));
        await late;
    }

    [Fact]
    public void A_TPM_of_version_1_2_has_no_such_key_and_ends_no_boot()
    {
        Told("class/tpm/tpm0/tpm_version_major", "1\n");
        File.WriteAllText($"{directory}/tpm0", "");
        Close(static line => Assert.Fail(line));
        Close(static line => Assert.Fail(line), isRequired: true);
    }

    [Fact]
    public void A_TPM_that_does_not_do_it_ends_a_sealed_boot_and_no_other()
    {
        File.WriteAllText($"{directory}/tpmrm0", ""); // takes it and says nothing
        var said = new List<string>();
        Close(said.Add, isSealed: false);
        Assert.Contains("register 15 was not extended", Assert.Single(said), StringComparison.Ordinal);
        Assert.All([true, false], givesKeys => Assert.Throws<NoRootException>(() => Close(said.Add, givesKeys: givesKeys)));
    }

    [Theory]
    [InlineData("trtdvrkj-ffijgrdl-dubkdigv-ikghgitv-ctklbecd-tuvkuful-vgreuetu-vhvjgfjh")]
    [InlineData("TRTDVRKJ FFIJGRDL DUBKDIGV IKGHGITV CTKLBECD TUVKUFUL VGREUETU VHVJGFJH")]
    [InlineData("trtdvrkjffijgrdldubkdigvikghgitvctklbecdtuvkufulvgreuetuvhvjgfjh")]
    public void A_recovery_key_opens_however_it_is_typed(string typed) =>
        Assert.Equal("trtdvrkj-ffijgrdl-dubkdigv-ikghgitv-ctklbecd-tuvkuful-vgreuetu-vhvjgfjh", EncryptedRoot.Normal(typed));

    [Fact]
    public void Whatever_else_is_typed_is_a_passphrase_as_it_is() => Gen.String.Where(static text => text.Length < 60).Sample(static text => EncryptedRoot.Normal(text) == text);

    [Fact]
    public void A_TPM_may_give_keys_to_a_version_that_a_pcr_key_signed_and_to_no_other()
    {
        Assert.False(TpmRegister.GivesKeys(directory));
        Told(".extra/tpm2-pcr-public-key.pem", "-----BEGIN PUBLIC KEY-----");
        Assert.False(TpmRegister.GivesKeys(directory));
        Told(".extra/tpm2-pcr-signature.json", "{}"); // where systemd's stub leaves it
        Assert.True(TpmRegister.GivesKeys(directory));
    }

    [Fact]
    public void The_first_boots_key_is_in_the_firmwares_variables_until_it_is_forgotten()
    {
        Assert.Null(FirstKey.Read(One, directory));
        string made = FirstKey.Make(One, directory, random: "/dev/urandom");
        Assert.Matches("^[0-9a-f]{64}$", made);
        Assert.Equal(made, FirstKey.Read(One, directory));
        byte[] bytes = File.ReadAllBytes(Assert.Single(Directory.GetFiles(directory)));
        Assert.Equal([7, 0, 0, 0], bytes[..4]); // kept, and seen by both of firmware and system
        Assert.NotEqual(made, FirstKey.Make(One, directory, random: "/dev/urandom"));
        FirstKey.Forget(One, directory);
        Assert.Null(FirstKey.Read(One, directory));
    }

    [Fact]
    public void A_second_disk_that_is_encrypted_in_the_same_machine_takes_no_key_of_the_first()
    {
        string first = FirstKey.Make(One, directory, random: "/dev/urandom"), second = FirstKey.Make(Other, directory, random: "/dev/urandom");
        Assert.Equal((first, second), (FirstKey.Read(One, directory), FirstKey.Read(Other, directory)));
        FirstKey.Forget(Other, directory);
        Assert.Equal((first, null), (FirstKey.Read(One, directory), FirstKey.Read(Other, directory)));
    }

    [Theory]
    [InlineData("")]
    [InlineData("../passphrase")]
    public void A_header_that_names_another_file_for_its_UUID_leads_to_no_key(string uuid)
    {
        File.WriteAllText($"{directory}/passphrase", "1234secret");
        Assert.Null(FirstKey.Read(uuid, directory));
    }

    [Fact]
    public void Nobody_but_root_can_read_first_boots_keys_whatever_mode_efivarfs_shows_them_with()
    {
        Assert.False(FirstKey.HideAll(directory));
        foreach (string volume in (string[])[One, Other])
            FirstKey.Make(volume, directory, random: "/dev/urandom");
        string[] files = Directory.GetFiles(directory);
        Assert.All(files, static file => Assert.Equal("600", Judge.OnPath("stat").Run("-c", "%a", file).Trim()));
        Judge.OnPath("chmod").Run(["644", .. files]); // as the next boot has them, and immutable
        Verdict immutable = Judge.OnPath("chattr").Ask(["+i", .. files]);
        try
        {
            Assert.True(FirstKey.HideAll(directory));
            Assert.All(files, static file => Assert.Equal("600", Judge.OnPath("stat").Run("-c", "%a", file).Trim()));
            Judge.OnPath("chmod").Run("755", directory);
            Assert.All(files, static file => Assert.NotEqual(0, Judge.OnPath("setpriv").Ask("--reuid=65534", "--regid=65534", "--clear-groups", "cat", file).ExitCode));
        }
        finally
        {
            if (immutable.ExitCode == 0)
                Judge.OnPath("chattr").Ask(["-i", .. files]);
        }
    }

    [Fact]
    public void The_partition_below_an_opened_volume_is_known_and_its_disks_EFI_partition_too()
    {
        string dm = $"{directory}/dev/block/252:0";
        Directory.CreateDirectory($"{dm}/dm");
        Directory.CreateDirectory($"{dm}/slaves/vda2");
        File.WriteAllText($"{dm}/dm/uuid", "CRYPT-LUKS2-8d158d2f9e0e4d509565b207757096c5-sbox-root\n");
        Assert.Equal(new EncryptedDisk("vda2", "8d158d2f-9e0e-4d50-9565-b207757096c5"), EncryptedDisk.Below("252:0", directory));
        Assert.Null(EncryptedDisk.Below("254:2", directory));
        File.WriteAllText($"{dm}/dm/uuid", "LVM-x\n");
        Assert.Null(EncryptedDisk.Below("252:0", directory));

        BlockDevice Of(string name, string number, string? disk, string? type = null, string? below = null) =>
            new(name, number, disk, type is null ? new Dictionary<string, string>() : new Dictionary<string, string> { ["ID_PART_ENTRY_TYPE"] = type }) { Below = below };
        Assert.Equal("vda1", EfiSystemPartition.Find(
            [Of("dm-0", "252:0", null, below: "vda2"), Of("vda1", "254:1", "vda", EfiSystemPartition.PartitionType), Of("vda2", "254:2", "vda")], null, "252:0")?.Name);
    }

    private void Told(string file, string text)
    {
        Directory.CreateDirectory(Path.GetDirectoryName($"{directory}/{file}")!);
        File.WriteAllText($"{directory}/{file}", text);
    }

    private string Volume()
    {
        string volume = $"{directory}/volume", passphrase = $"{directory}/passphrase";
        File.WriteAllText(passphrase, "of a test");
        using (FileStream file = File.Create(volume))
            file.SetLength(20 << 20);
        Judge.OnPath("cryptsetup").Run("luksFormat", "--batch-mode", "--type", "luks2", "--label", "sbox-root", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", volume, passphrase);
        return volume;
    }
}
