using Microsoft.Win32.SafeHandles;
using Sbox.Linux;

namespace Sbox.Boot;

/// <summary>
/// What systemd's stub took out of the UKI for the system that boots: the owner's key for TPM policies, and its signatures. They lie in the initramfs,
/// which is emptied; in an initrd of systemd's own, tmpfiles.d/20-systemd-stub.conf keeps the same files at the same places.
/// </summary>
internal static class StubFiles
{
    private const string From = ".extra", To = "systemd";
    private const uint ReadOnlyForAll = 0x124; // 0444
    private const string Signatures = "tpm2-pcr-signature.json";
    private static readonly string[] Names = [Signatures, "tpm2-pcr-public-key.pem"];

    /// <summary>Whether there are signatures of a pcr key.</summary>
    /// <param name="initramfs">The initramfs' root.</param>
    public static bool HasSignatures(string initramfs) => File.Exists(Path.Combine(initramfs, From, Signatures));

    /// <summary>Copies what is there.</summary>
    /// <param name="initramfs">The initramfs' root.</param>
    /// <param name="run">The tmpfs that becomes /run.</param>
    public static void Keep(string initramfs, string run)
    {
        using Dir root = Dir.Open(initramfs);
        using Dir? extra = root.TryOpenDir(From);
        foreach (string name in Names)
        {
            if (extra?.TryReadAll(name) is not { } content)
                continue;
            using Dir to = Dir.Open(run);
            using Dir systemd = to.MakeAndOpenDir(To);
            using SafeFileHandle file = systemd.CreateFile(name, ReadOnlyForAll);
            RandomAccess.Write(file, content, fileOffset: 0);
        }
    }
}
