using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Store;

namespace Sbox.Cli.Tests;

/// <summary>
/// Both keys that sign, on a token, by OpenSSL's provider pkcs11: in the judges' Debian, where there is one, whose OpenSSL, provider and SoftHSM are the judges.
/// </summary>
public sealed class TokenProviderTests : IDisposable
{
    private const string Pin = "1234", Branch = "debian/13/amd64/test";

    // In a mount namespace of its own: what is written is in memory, but for the directory of the test.
    private const string InTheJudgesDebian = """
        set -e
        root=$1 app=$2 dotnet=$3 work=$4
        for place in tmp srv run; do mount -t tmpfs tmpfs "$root/$place"; done
        mount -t proc proc "$root/proc"
        mount --rbind /dev "$root/dev"
        mkdir "$root/srv/app" "$root/srv/dotnet" "$root/srv/work"
        mount --bind "$app" "$root/srv/app"
        mount --bind "$dotnet" "$root/srv/dotnet"
        mount --bind "$work" "$root/srv/work"
        exec chroot "$root" env -i HOME=/tmp PATH=/usr/bin:/bin:/usr/sbin:/sbin DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1 DOTNET_CLI_TELEMETRY_OPTOUT=1 \
          SOFTHSM2_CONF=/srv/work/softhsm2.conf sh -ec "cd /srv/work; $5"
        """;

    private readonly string directory = Directory.CreateTempSubdirectory("sbox-token-").FullName;

    public TokenProviderTests()
    {
        Directory.CreateDirectory($"{directory}/tokens");
        File.WriteAllText($"{directory}/softhsm2.conf", "directories.tokendir = /srv/work/tokens\nobjectstore.backend = file\n");
        // no-deinit: SoftHSM is made of OpenSSL itself, and after a refusal waits for ever to be ended by the OpenSSL that loaded it. No other token needs it.
        File.WriteAllText($"{directory}/openssl.cnf", """
            openssl_conf = all
            [all]
            providers = providers
            [providers]
            default = its-own
            pkcs11 = tokens
            [its-own]
            activate = 1
            [tokens]
            pkcs11-module-path = /usr/lib/softhsm/libsofthsm2.so
            pkcs11-module-quirks = no-deinit
            activate = 1

            """);
        File.WriteAllText($"{directory}/pin", $"{Pin}\n");
        There($"""
            softhsm2-util --init-token --free --label owner --pin {Pin} --so-pin 5678
            tool() {"{"} pkcs11-tool --module /usr/lib/softhsm/libsofthsm2.so --token-label owner --login --pin {Pin} "$@"; {"}"}
            tool --keypairgen --key-type rsa:2048 --label db --id 01
            tool --keypairgen --key-type EC:edwards25519 --label tree --id 02
            """);
    }

    public void Dispose() => Directory.Delete(directory, recursive: true);

    [Fact]
    public void What_boots_and_the_commit_are_signed_on_the_token_and_sbverify_and_openssl_find_both_good()
    {
        There($"""
            {Sbox} keys init keys --db-token 'pkcs11:token=owner;object=db;type=private' --tree-token 'pkcs11:token=owner;object=tree' --passphrase-file pin
            """);
        Assert.False(File.Exists($"{directory}/keys/db.key") || File.Exists($"{directory}/keys/tree.key"));
        MakeTree();
        There($"""
            {Sbox} store init --repo=repo --mode=archive
            {Sbox} store commit --repo=repo --branch={Branch} --add-metadata-string=version=1 tree
            {Sbox} seal --repo repo --keys keys --passphrase-file pin {Branch}
            """);

        // On this machine nobody has the token, and nobody needs it.
        IsSignedByTheTree();
        Judge.OnPath("dotnet").Run(Path.Combine(AppContext.BaseDirectory, "sbox.dll"), "image", "--repo", $"{directory}/repo", "--keys", $"{directory}/keys", "-o", $"{directory}/disk.img", Branch);
        foreach (string file in (string[])["EFI/BOOT/BOOTX64.EFI", Uki()])
        {
            Judge.OnPath("mcopy").Run("-n", "-o", "-i", $"{directory}/disk.img@@1048576", $"::/{file}", $"{directory}/signed.efi");
            Judge.OnPath("sbverify").Run("--cert", $"{directory}/keys/db.crt", $"{directory}/signed.efi");
        }
    }

    [Fact]
    public void With_another_pin_or_a_key_of_another_kind_nothing_is_made_and_the_pin_is_not_told()
    {
        File.WriteAllText($"{directory}/other", "9876\n");
        string refused = Refused($"{OnlyTree} keys init keys --tree-token 'pkcs11:token=owner;object=tree' --passphrase-file other");
        Assert.Contains("pkcs11:token=owner;object=tree: openssl has no Ed25519 key of it", refused, StringComparison.Ordinal);
        Assert.DoesNotContain("9876", refused, StringComparison.Ordinal);
        Assert.Contains("the key there is no Ed25519 key", Refused($"{OnlyTree} keys init keys --tree-token 'pkcs11:token=owner;object=db' --passphrase-file pin"), StringComparison.Ordinal);
        Assert.Empty(Directory.Exists($"{directory}/keys") ? Directory.GetFiles($"{directory}/keys") : []);
    }

    private const string Program = "/srv/dotnet/dotnet /srv/app/sbox.dll";

    // What .NET opens knows nothing of that file, and finds the module by this.
    private const string Sbox = $"PKCS11_PROVIDER_MODULE=/usr/lib/softhsm/libsofthsm2.so {OnlyTree}";

    // openssl(1) alone is asked here, and would wait for ever without the setting.
    private const string OnlyTree = $"OPENSSL_CONF=/srv/work/openssl.cnf {Program}";

    private static string DotnetRoot => Path.GetFullPath(Path.Combine(System.Runtime.InteropServices.RuntimeEnvironment.GetRuntimeDirectory(), "../../.."));

    // By openssl, which knows nothing of the token any more.
    private void IsSignedByTheTree()
    {
        using Repository repository = Repository.Open($"{directory}/repo");
        Checksum commit = repository.Resolve(Branch);
        File.WriteAllBytes($"{directory}/key.der", [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00, .. Convert.FromBase64String(File.ReadAllText($"{directory}/keys/tree.pub").Trim())]);
        File.WriteAllBytes($"{directory}/commit", repository.LoadMetadata(new ObjectName(commit, ObjectType.Commit)));
        File.WriteAllBytes($"{directory}/signature", Assert.Single(CommitSignatures.Of(repository.LoadDetachedMetadata(commit))));
        Judge.OnPath("openssl").Run("pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", $"{directory}/key.der", "-rawin", "-in", $"{directory}/commit", "-sigfile", $"{directory}/signature");
    }

    private string Uki() => "EFI/Linux/" + Judge.OnPath("mdir").Run("-b", "-i", $"{directory}/disk.img@@1048576", "::/EFI/Linux").Split('\n', StringSplitOptions.RemoveEmptyEntries)[0].Trim().Split('/')[^1];

    // A kernel, a stub and a loader that are programs as firmware knows them.
    private void MakeTree()
    {
        string program = Directory.GetFiles(Path.Combine(Judge.Root, "usr/lib/systemd/boot/efi"), "linuxx64.efi.stub").Single();
        foreach (string name in (string[])["usr/lib/modules/6.12.0/vmlinuz", "usr/lib/systemd/boot/efi/linuxx64.efi.stub", "usr/lib/systemd/boot/efi/systemd-bootx64.efi"])
        {
            Directory.CreateDirectory(Path.GetDirectoryName($"{directory}/tree/{name}")!);
            File.Copy(program, $"{directory}/tree/{name}");
        }

        File.WriteAllText($"{directory}/tree/usr/lib/modules/6.12.0/initramfs.img", "initrd\n");
        File.WriteAllText($"{directory}/tree/usr/lib/os-release", "ID=debian\nVERSION_ID=13\nPRETTY_NAME=Debian\n");
        foreach (string name in (string[])["usr/etc", "etc", "boot", "sysroot", "var"])
            Directory.CreateDirectory($"{directory}/tree/{name}");
        Directory.Delete($"{directory}/tree/etc");
    }

    private void There(string script)
    {
        Verdict verdict = Ask(script);
        Assert.True(verdict.ExitCode == 0, $"{verdict.Output}{verdict.Error}");
    }

    private string Refused(string script)
    {
        Verdict verdict = Ask(script);
        Assert.Equal(1, verdict.ExitCode);
        return verdict.Output + verdict.Error;
    }

    private Verdict Ask(string script) => Judge.OnPath("unshare").Ask("--mount", "--pid", "--fork", "--kill-child", "sh", "-c", InTheJudgesDebian, "sh", Judge.Root, AppContext.BaseDirectory, DotnetRoot, directory, script);
}
