using System.Security.Cryptography.X509Certificates;
using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Codecs.SecureBoot;

namespace Sbox.Sysroot;

/// <summary>What the firmware says of itself. It is its own word: only a TPM's quote says it to somebody else.</summary>
/// <param name="SecureBoot">Whether it checks what it starts; null where it does not say.</param>
/// <param name="SetupMode">Whether it takes new keys from anybody; null where it does not say.</param>
/// <param name="Certificates">The certificates of db, who may have signed what starts; null where there is no db that can be read.</param>
public sealed record FirmwareState(bool? SecureBoot, bool? SetupMode, IReadOnlyList<X509Certificate2>? Certificates)
{
    /// <summary>The certificates of dbx: what bears a signature of theirs is not started, whoever else signed it.</summary>
    public IReadOnlyList<X509Certificate2> Revoked { get; init; } = [];

    /// <summary>The UKI that systemd's stub says it was; null where it does not say.</summary>
    public string? StartedImage { get; init; }

    /// <summary>Reads the variables.</summary>
    /// <param name="directory">Where efivarfs is; one that is not there says nothing.</param>
    public static FirmwareState Read(string directory)
    {
        var variables = new FirmwareVariables(directory);
        return new FirmwareState(Flag(variables, EfiVariable.SecureBoot), Flag(variables, EfiVariable.SetupMode), CertificatesIn(variables, EfiVariable.Db))
        {
            Revoked = CertificatesIn(variables, EfiVariable.Dbx) ?? [],
            StartedImage = variables.Read("StubImageIdentifier-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f") is { } text
                ? System.Text.Encoding.Unicode.GetString(text).TrimEnd('\0') : null,
        };
    }

    private static bool? Flag(FirmwareVariables variables, EfiVariable variable) => variables.Read(variable.FileName) switch { [0] => false, [1] => true, _ => null };

    private static IReadOnlyList<X509Certificate2>? CertificatesIn(FirmwareVariables variables, EfiVariable variable)
    {
        try
        {
            return variables.Read(variable.FileName) is { } lists ? EfiSignatureList.Certificates(lists) : null;
        }
        catch (MalformedException) // lists that nobody can read name nobody
        {
            return null;
        }
    }
}
