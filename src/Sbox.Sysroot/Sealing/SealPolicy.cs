using System.Security.Cryptography.X509Certificates;
using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Codecs.SecureBoot;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>What a sealed box accepts. A box without one is not sealed, and deploys whatever it is told to.</summary>
/// <param name="Certificates">Who may have signed boot files: the certificates of the firmware's db.</param>
/// <param name="Source">Where they come from, for people.</param>
public sealed record SealPolicy(IReadOnlyList<X509Certificate2> Certificates, string Source)
{
    /// <summary>Whether this is the running machine's: then what is deployed must be sealed on its disk now, and not by whoever makes an image of it.</summary>
    public bool IsRunning { get; private init; }

    /// <summary>Whether the firmware checks signatures now: an unsigned file would be there and never start.</summary>
    public bool FirmwareChecks { get; init; }

    /// <summary>The certificates of the firmware's dbx: a file that bears a signature of theirs is not started, whoever else signed it.</summary>
    public IReadOnlyList<X509Certificate2> Revoked { get; init; } = [];

    /// <summary>Whether a signature is by a certificate that was revoked.</summary>
    public bool IsRevoked(byte[] signature) => Revoked.Any(certificate => signature.AsSpan().IndexOf(certificate.RawData) >= 0);

    /// <summary>Where on the ESP the boot loader finds keys to enroll.</summary>
    public const string KeyDirectory = "loader/keys/auto";

    /// <summary>
    /// The running machine's: it is sealed where the firmware checks what it starts, or where the command line that runs asks for verity.
    /// </summary>
    /// <param name="commandLine">The running kernel's.</param>
    /// <param name="esp">The mounted ESP, where keys wait for firmware that has none yet; null where it is not mounted.</param>
    /// <param name="efiVariables">Where efivarfs is.</param>
    /// <returns>Null where it is not sealed.</returns>
    /// <exception cref="MalformedException">The firmware's db, or the ESP's, cannot be read.</exception>
    public static SealPolicy? OfMachine(KernelArguments commandLine, string? esp, string efiVariables = FirmwareVariables.Efivarfs)
    {
        bool enforced = FirmwareEnforces(efiVariables);
        if (!enforced && !RootConfig.AsksForVerity(commandLine))
            return null;
        if (enforced && Variable(efiVariables, EfiVariable.Db) is { } db)
        {
            return new SealPolicy(EfiSignatureList.Certificates(db), "the firmware's db")
            {
                IsRunning = true,
                FirmwareChecks = true,
                Revoked = Variable(efiVariables, EfiVariable.Dbx) is { } dbx ? EfiSignatureList.Certificates(dbx) : [],
            };
        }

        return (OfEsp(esp) ?? new SealPolicy([], "nowhere: the firmware checks nothing, and the EFI partition has no db.auth")) with { IsRunning = true, FirmwareChecks = enforced };
    }

    /// <summary>Of the keys that an ESP in a directory brings along; null where it brings none.</summary>
    public static SealPolicy? OfEsp(string? esp)
    {
        if (esp is null)
            return null;
        using Dir dir = Dir.Open(esp);
        return dir.TryReadAll($"{KeyDirectory}/db.auth") is { } file
            ? new SealPolicy(EfiSignatureList.Certificates(EfiAuthenticatedVariable.Value(file)), $"{KeyDirectory}/db.auth on the EFI partition") : null;
    }

    /// <summary>Whether the firmware checks the signature of what it starts.</summary>
    public static bool FirmwareEnforces(string efiVariables = FirmwareVariables.Efivarfs) => Variable(efiVariables, EfiVariable.SecureBoot) is [1];

    private static byte[]? Variable(string efiVariables, EfiVariable variable) => new FirmwareVariables(efiVariables).Read(variable.FileName);
}

/// <summary>A sealed box was told to deploy a commit that nobody sealed.</summary>
/// <param name="commit">The commit.</param>
public sealed class UnsealedCommitException(Checksum commit)
    : SysrootException($"commit {commit.ToString()[..12]} is not sealed, and this box boots only what its owner signed")
{
    /// <summary>The commit.</summary>
    public Checksum Commit { get; } = commit;
}

/// <summary>A boot file is not what its seal's signatures are for, or nobody signed it who is trusted here.</summary>
/// <param name="commit">The commit.</param>
/// <param name="file">The file.</param>
/// <param name="finding">What is wrong.</param>
public sealed class SealBrokenException(Checksum commit, string file, string finding)
    : SysrootException($"the seal of commit {commit.ToString()[..12]}: {file}: {finding}")
{
    /// <summary>The commit.</summary>
    public Checksum Commit { get; } = commit;

    /// <summary>The file.</summary>
    public string File { get; } = file;
}
