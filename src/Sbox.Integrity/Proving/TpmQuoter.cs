using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Integrity;

/// <summary>A TPM's word on what was measured since power-on.</summary>
/// <param name="Attested">TPMS_ATTEST.</param>
/// <param name="Signature">RSA PKCS#1 v1.5 over it.</param>
/// <param name="Key">The attestation key's public part, PEM.</param>
/// <param name="Pcrs">The values of the PCRs, SHA-256 bank, by number.</param>
public sealed record QuoteEvidence(byte[] Attested, byte[] Signature, string Key, IReadOnlyDictionary<int, string> Pcrs);

/// <summary>Has a TPM sign its PCRs, by tpm2-tools' programs.</summary>
/// <remarks>
/// The attestation key is a primary key of the endorsement hierarchy: the TPM makes the same one of its own seed every time, so nothing is kept, and it can sign nothing but what the TPM
/// itself says (restricted).
/// </remarks>
public static class TpmQuoter
{
    /// <summary>Firmware, its configuration and boot loader (0 to 7), the UKI's parts (11), its configuration (12).</summary>
    public static IReadOnlyList<int> Pcrs { get; } = [0, 1, 2, 3, 4, 5, 6, 7, 11, 12];

    private const string Template = "rsa2048:rsassa-sha256:null";
    private const string Attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign";

    /// <summary>Asks for a quote.</summary>
    /// <param name="nonce">What is signed along; 32 bytes.</param>
    /// <param name="tcti">How to reach the TPM, as TPM2TOOLS_TCTI has it; null for the machine's own.</param>
    /// <returns>The quote; or null with the reason, which is no failure: many machines have no TPM.</returns>
    public static (QuoteEvidence? Quote, string? Why) Ask(Checksum nonce, string? tcti)
    {
        if (tcti is null && !File.Exists("/dev/tpmrm0"))
            return (null, "this machine has no TPM that the kernel knows (/dev/tpmrm0)");
        string directory = Directory.CreateTempSubdirectory("sbox-quote-").FullName;
        try
        {
            return (Ask(nonce, tcti ?? "device:/dev/tpmrm0", directory), null);
        }
        catch (ChildFailedException failed)
        {
            return (null, failed.ExitCode == 127 ? $"{failed.Command.Program} is not installed (Debian's package tpm2-tools)" : failed.Message);
        }
        catch (IOException broken)
        {
            return (null, broken.Message);
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    private static QuoteEvidence Ask(Checksum nonce, string tcti, string directory)
    {
        string Of(string name) => Path.Combine(directory, name);
        void Run(string program, params string[] arguments) =>
            ChildProcess.Check(new ChildCommand(program, arguments) { Environment = new Dictionary<string, string> { ["TPM2TOOLS_TCTI"] = tcti } });
        Run("tpm2_createprimary", "-C", "e", "-g", "sha256", "-G", Template, "-a", Attributes, "-c", Of("key.ctx"));
        Run("tpm2_readpublic", "-c", Of("key.ctx"), "-f", "pem", "-o", Of("key.pem"));
        Run("tpm2_quote", "-c", Of("key.ctx"), "-l", $"sha256:{string.Join(',', Pcrs)}", "-q", nonce.ToString(), "-g", "sha256", "-m", Of("attested"), "-s", Of("signature"), "-f", "plain", "-o", Of("pcrs"), "-F", "values");
        byte[] values = File.ReadAllBytes(Of("pcrs"));
        if (values.Length != Pcrs.Count * Checksum.Size)
            throw new IOException($"tpm2_quote gave {values.Length} bytes of PCRs, and {Pcrs.Count * Checksum.Size} were asked for");
        return new QuoteEvidence(
            File.ReadAllBytes(Of("attested")), File.ReadAllBytes(Of("signature")), File.ReadAllText(Of("key.pem")),
            Pcrs.Select((pcr, at) => (pcr, Convert.ToHexStringLower(values.AsSpan(at * Checksum.Size, Checksum.Size)))).ToDictionary());
    }
}
