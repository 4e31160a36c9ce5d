using Sbox.Codecs;
using Sbox.Codecs.SecureBoot;
using Sbox.Image;
using Sbox.Judges;
using Sbox.Sysroot;
using Sbox.Sysroot.Tests;

namespace Sbox.Cli.Tests;

/// <summary><c>sbox keys apply dbx</c>: what the EFI partition holds decides whether the box would still start. Needs root.</summary>
public sealed class KeysApplyTests : IDisposable
{
    private static readonly string[] Loaders = ["EFI/systemd/systemd-bootx64.efi", "EFI/BOOT/BOOTX64.EFI"];
    private readonly TestBox box = new();
    private readonly Signer old, now;
    private readonly string update;

    public KeysApplyTests()
    {
        using InstalledBox installed = box.Installed(box.Publish(1), box.Publish(2));
        var passphrase = new Passphrase("correct horse");
        OwnerKeys keys = OwnerKeys.Create(Path.Combine(box.Path, "keys"), "Test", passphrase, TimeProvider.System);
        old = keys.OpenDb(passphrase);
        keys.RotateDb(passphrase, TimeProvider.System);
        now = keys.OpenDb(passphrase);
        update = keys.Revoke("db-1", passphrase, TimeProvider.System).Update;
    }

    public void Dispose()
    {
        old.Dispose();
        now.Dispose();
        box.Dispose();
    }

    [Fact]
    public void A_revocation_is_refused_while_a_file_that_the_next_boot_needs_bears_the_old_signature_and_written_when_none_does()
    {
        using OstreeSysroot sysroot = box.Open();
        using var machine = new RunningBox(box, sysroot.Deployments[0]);
        string[] ukis = [.. sysroot.Deployments.Select(static each => $"EFI/Linux/{UnifiedKernel.FileName(each.Name)}")];
        foreach (string file in (string[])[.. Loaders, .. ukis])
            Write(file, now);
        Write(ukis[1], old);
        foreach (string needed in (string[])[ukis[0], .. Loaders])
        {
            Write(needed, old, now);
            string refusal = machine.Run($"! sbox keys apply dbx {update} --esp=/run/esp 2>&1; ls /sys/firmware/efi/efivars");
            Assert.Contains($"/run/esp/{needed}: it is needed for the next boot, and bears the signature of a key that {update} revokes", refusal, StringComparison.Ordinal);
            Assert.DoesNotContain(EfiVariable.Dbx.FileName, refusal, StringComparison.Ordinal);
            Write(needed, now);
        }

        string said = machine.Run($"sbox keys apply dbx {update} --esp=/run/esp 2>&1; ls /sys/firmware/efi/efivars");
        Assert.Contains($"{ukis[1]} does not start any more: it bears the signature of a revoked key", said, StringComparison.Ordinal);
        Assert.Contains(EfiVariable.Dbx.FileName, said, StringComparison.Ordinal);
    }

    [Fact]
    public void Where_the_EFI_partition_cannot_be_seen_nothing_is_revoked()
    {
        using OstreeSysroot sysroot = box.Open();
        using var machine = new RunningBox(box, sysroot.Deployments[0]);
        string unseen = machine.Run($"! sbox keys apply dbx {update} 2>&1; ls /sys/firmware/efi/efivars");
        Assert.Contains("what boots next cannot be seen", unseen, StringComparison.Ordinal);
        string another = machine.Run($"mkdir /run/empty; ! sbox keys apply dbx {update} --esp=/run/empty 2>&1; ls /sys/firmware/efi/efivars");
        Assert.Contains("/run/empty: no boot loader or no version of this box is there", another, StringComparison.Ordinal);
        Assert.DoesNotContain(EfiVariable.Dbx.FileName, unseen + another, StringComparison.Ordinal);
        Assert.Contains(EfiVariable.Dbx.FileName, machine.Run($"sbox keys apply dbx {update} --force 2>&1; ls /sys/firmware/efi/efivars"), StringComparison.Ordinal);
    }

    private void Write(string file, params Signer[] by)
    {
        byte[] program = File.ReadAllBytes(Directory.GetFiles(Path.Combine(Judge.Root, "usr/lib/systemd/boot/efi"), "linuxx64.efi.stub").Single());
        Checksum digest = PeDigest.Of(program);
        File.WriteAllBytes($"{box.EspPath}/{file}", PeSignatures.Attach(program, [.. by.Select(key => Authenticode.Sign(digest, key))]));
    }
}
