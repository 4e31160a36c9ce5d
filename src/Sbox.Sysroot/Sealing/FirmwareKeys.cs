using System.Buffers.Binary;
using System.Security.Cryptography.X509Certificates;
using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Codecs.SecureBoot;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>A signed change of the firmware's db or dbx: certificates that it adds to those it has.</summary>
public sealed class FirmwareKeys
{
    private readonly EfiVariable variable;
    private readonly byte[] file;
    private readonly IReadOnlyList<X509Certificate2> certificates;

    private FirmwareKeys(EfiVariable variable, byte[] file) =>
        (this.variable, this.file, certificates) = (variable, file, EfiSignatureList.Certificates(EfiAuthenticatedVariable.Value(file)));

    /// <summary>How many certificates it adds.</summary>
    public int Certificates => certificates.Count;

    /// <summary>Reads an .auth file.</summary>
    /// <param name="variable">db or dbx.</param>
    /// <param name="path">The file.</param>
    /// <exception cref="MalformedException">It is no such file.</exception>
    public static FirmwareKeys Read(string variable, string path)
    {
        using Dir directory = Dir.Open(Path.GetDirectoryName(Path.GetFullPath(path))!);
        return new FirmwareKeys(variable == EfiVariable.Dbx.Name ? EfiVariable.Dbx : EfiVariable.Db, directory.ReadAll(Path.GetFileName(path)));
    }

    /// <summary>The deployments that firmware would not start any more, in boot order: they bear a signature of what is revoked.</summary>
    public IReadOnlyList<Deployment> Ends(OstreeSysroot sysroot)
    {
        if (variable != EfiVariable.Dbx)
            return [];
        var policy = new SealPolicy([], "") { Revoked = certificates };
        return [.. sysroot.Deployments.Where(each => CommitSeal.Of(sysroot.Repository.LoadDetachedMetadata(each.Name.Commit)) is { } seal
            && seal.UkiSignatures.Concat(seal.LoaderSignatures).Any(policy.IsRevoked))];
    }

    /// <summary>Gives it to the firmware.</summary>
    /// <param name="efiVariables">Where efivarfs is.</param>
    /// <exception cref="LinuxException">Refused: the firmware does not find the signature good (EACCES, EIO), or efivarfs is not writable.</exception>
    public void Write(string efiVariables = Boot.LoaderVariables.Efivarfs)
    {
        using Dir directory = Dir.Open(efiVariables);
        using (SafeFileHandle? there = directory.TryOpenFile(variable.FileName))
        {
            if (there is not null)
                InodeFlags.ClearImmutable(there, directory.Of(variable.FileName));
        }

        var bytes = new byte[sizeof(uint) + file.Length];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, EfiAuthenticatedVariable.AppendAttributes);
        file.CopyTo(bytes, sizeof(uint));
        // Nothing of efivarfs can seek. One write(2), without a buffer: each is a call of the firmware's.
        using var stream = new FileStream(directory.OpenOrCreateFile(variable.FileName), FileAccess.ReadWrite, bufferSize: 0);
        try
        {
            stream.Write(bytes);
        }
        catch (Exception refused) when (refused is UnauthorizedAccessException or (IOException and not LinuxException))
        {
            throw new LinuxException(Errno.EACCES, "write", directory.Of(variable.FileName));
        }
    }
}
