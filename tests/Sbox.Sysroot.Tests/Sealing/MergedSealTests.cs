using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Sbox.Codecs;
using Sbox.Codecs.SecureBoot;
using Sbox.Store;

namespace Sbox.Sysroot.Tests;

/// <summary>What becomes of the signatures of a deployed version when a server offers others for it.</summary>
public sealed class MergedSealTests : IDisposable
{
    private static readonly Checksum Uki = Checksum.Of("uki"u8), Loader = Checksum.Of("loader"u8);
    private readonly TestBox box = new(inMemory: true);
    private readonly Signer old = Make("old"), fresh = Make("new"), stranger = Make("stranger");

    public void Dispose()
    {
        box.Dispose();
        foreach (Signer key in (Signer[])[old, fresh, stranger])
            key.Dispose();
    }

    [Fact]
    public void Worthless_signatures_of_the_same_image_replace_none_that_counts_and_are_not_kept()
    {
        CommitSeal here = By(old);
        Assert.Equal(here.UkiSignatures, Offered(here, By(stranger)).UkiSignatures);
        Assert.Equal(here.UkiSignatures, Offered(here, here with { UkiSignatures = ["no signature"u8.ToArray()], LoaderSignatures = [] }).UkiSignatures);
        Assert.Equal(here.LoaderSignatures, Offered(here, here with { UkiSignatures = [], LoaderSignatures = [] }).LoaderSignatures);
        // A good signature, of another file.
        Assert.Equal(here.UkiSignatures, Offered(here, here with { UkiSignatures = here.LoaderSignatures }).UkiSignatures);
    }

    [Fact]
    public void What_its_owner_signs_again_with_another_key_is_added()
    {
        CommitSeal here = By(old), again = By(fresh);
        CommitSeal merged = Offered(here, again);
        Assert.Equal([.. here.UkiSignatures, .. again.UkiSignatures], merged.UkiSignatures);
        Assert.Equal([.. here.LoaderSignatures, .. again.LoaderSignatures], merged.LoaderSignatures);
        Assert.Equal(merged.UkiSignatures, Offered(merged, again).UkiSignatures); // once
    }

    [Fact]
    public void A_signature_that_the_firmware_would_refuse_the_whole_file_for_is_not_taken_and_goes_when_another_counts()
    {
        CommitSeal here = By(old), again = By(fresh);
        Assert.Equal(again.UkiSignatures, Offered(again, here, revoked: old).UkiSignatures);
        Assert.Equal(again.UkiSignatures, Offered(here, again, revoked: old).UkiSignatures);
        Assert.Equal(here.UkiSignatures, Offered(here, By(stranger), revoked: old).UkiSignatures); // better than none: its owner is told what it bears
    }

    [Fact]
    public void A_seal_of_other_boot_files_is_none_of_those_that_lie_on_the_EFI_partition()
    {
        CommitSeal here = By(old);
        Assert.Equal(here.CommandLine, Offered(here, By(fresh) with { CommandLine = "root=y" }).CommandLine);
        Assert.Equal(here.UkiSignatures, Offered(here, By(fresh) with { Profiles = [new SealProfile("x", "X", "y")] }).UkiSignatures);
    }

    private CommitSeal Offered(CommitSeal here, CommitSeal offered, Signer? revoked = null)
    {
        using InstalledBox installed = box.Installed(box.Publish(1));
        var files = new SealedFiles(installed.Sysroot, new SealPolicy([old.Certificate, fresh.Certificate], "a test") { Revoked = revoked is null ? [] : [revoked.Certificate] });
        return CommitSeal.Of(KeptBeside.Of(here.AddTo(null), offered.AddTo(null), files))!;
    }

    private static CommitSeal By(Signer key) => new(
        Checksum.Of("image"u8), "root=x", "ID=x\n", [], [Authenticode.Sign(Uki, key)], [Authenticode.Sign(Loader, key)]);

    private static Signer Make(string name)
    {
        RSA key = RSA.Create(2048);
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        return new Signer(request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1)), key);
    }
}
