using System.Security.Cryptography.X509Certificates;
using Sbox.Boot;
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

    /// <summary>The programs on an ESP that firmware would not start any more: they bear a signature of what is revoked, or nobody can tell.</summary>
    /// <param name="esp">Its files are asked, and not the seals in the repository: those may have been replaced since the files were written.</param>
    public IReadOnlyList<BootProgram> Ends(EspWriter esp)
    {
        if (variable != EfiVariable.Dbx)
            return [];
        var policy = new SealPolicy([], "") { Revoked = certificates };
        return [.. esp.Programs().Where(each => each.Signatures?.Any(policy.IsRevoked) ?? true)];
    }

    /// <summary>Gives it to the firmware.</summary>
    /// <param name="efiVariables">Where efivarfs is.</param>
    /// <exception cref="LinuxException">Refused: the firmware does not find the signature good (EACCES, EIO), or efivarfs is not writable.</exception>
    public void Write(string efiVariables = FirmwareVariables.Efivarfs) =>
        new FirmwareVariables(efiVariables).Write(variable.FileName, EfiAuthenticatedVariable.AppendAttributes, file);
}
