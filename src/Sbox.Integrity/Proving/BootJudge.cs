using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Codecs.SecureBoot;
using Sbox.Codecs.Uki;
using Sbox.Sysroot;

namespace Sbox.Integrity;

/// <summary>The running kernel, by its own word.</summary>
/// <param name="Release">/proc/sys/kernel/osrelease.</param>
/// <param name="Version">/proc/sys/kernel/version: how and when it was built.</param>
public sealed record KernelEvidence(string Release, string Version)
{
    /// <summary>What the sealed tree's kernel says of itself in its header; null where the tree has none of this release, or it says nothing.</summary>
    public string? TreesOwnWords { get; init; }

    /// <summary>/sys/kernel/security/lockdown; null where there is none.</summary>
    public string? Lockdown { get; init; }
}

/// <summary>Judges what happened before the first program: firmware, kernel, command line, UKI. Nothing here asks the machine.</summary>
public static class BootJudge
{
    /// <summary>Whether the firmware checks what it starts, by keys that somebody chose.</summary>
    public static Fact Firmware(FirmwareState firmware)
    {
        string? Word(bool? flag) => flag switch { null => null, true => "1", false => "0" };
        IReadOnlyList<X509Certificate2> trusted = firmware.Certificates ?? [];
        (Verdict verdict, string says) = firmware switch
        {
            { SecureBoot: null } => (Verdict.Unchecked, "no UEFI variables can be seen that tell whether Secure Boot is on"),
            { SecureBoot: false } => (Verdict.Wrong, "Secure Boot is off: the firmware starts whatever it finds"),
            { SetupMode: true } => (Verdict.Wrong, "the firmware is in setup mode: it takes new keys from anybody"),
            { SetupMode: null } => (Verdict.Unchecked, "Secure Boot is on, and the firmware does not tell whether it is in setup mode"),
            { Certificates: null or { Count: 0 } } => (Verdict.Wrong, "Secure Boot is on, and db names no certificate that could be read"),
            _ => (Verdict.Ok, $"Secure Boot is on; what starts is signed by {string.Join(" or ", trusted.Select(static each => each.Subject))}"),
        };
        return new Fact("firmware", verdict, says).With(("secure-boot", Word(firmware.SecureBoot)), ("setup-mode", Word(firmware.SetupMode)))
            with { List = [.. trusted.Select(static each => $"{each.GetCertHashString(HashAlgorithmName.SHA256).ToLowerInvariant()} {each.Subject}")] };
    }

    /// <summary>Whether the kernel that runs is the tree's.</summary>
    public static Fact Kernel(KernelEvidence kernel)
    {
        (Verdict verdict, string says) = kernel.TreesOwnWords switch
        {
            null => (Verdict.Unchecked, $"{kernel.Release} runs, and the tree has no kernel of that name which says how it was built"),
            var words when words.StartsWith($"{kernel.Release} ", StringComparison.Ordinal) && words.Contains(kernel.Version, StringComparison.Ordinal) =>
                (Verdict.Ok, $"{kernel.Release} runs, which is the tree's: {kernel.Version}"),
            var words => (Verdict.Wrong, $"{kernel.Release} {kernel.Version} runs, and the tree's is {words}"),
        };
        return new Fact("kernel", verdict, says).With(("release", kernel.Release), ("version", kernel.Version), ("lockdown", kernel.Lockdown));
    }

    /// <summary>Whether the command line is one of those that the UKI was signed with.</summary>
    /// <param name="running">/proc/cmdline.</param>
    /// <param name="signed">Those of the UKI; null where no UKI was looked at.</param>
    public static Fact CommandLine(string running, IReadOnlyList<string>? signed)
    {
        running = running.Trim();
        if (signed is null or { Count: 0 })
            return new Fact("command-line", Verdict.Unchecked, "no UKI was looked at, which would have the line that is signed").With(("running", running));
        try
        {
            SignedCommandLine.Check(running, SignedCommandLine.Text(signed));
            return new Fact("command-line", Verdict.Ok, "it is the UKI's, with nothing added").With(("running", running));
        }
        catch (NoRootException other)
        {
            return new Fact("command-line", Verdict.Wrong, other.Message).With(("running", running)) with { List = signed };
        }
    }

    /// <summary>Whether the UKI is signed by one whom the firmware trusts.</summary>
    /// <param name="file">Its path on the EFI partition; null where it is missing.</param>
    /// <param name="image">Its bytes; null where it is missing.</param>
    /// <param name="firmware">Whom the firmware trusts, and which UKI it started.</param>
    /// <param name="unseen">Why no EFI partition was looked at; null where one was.</param>
    public static Fact Uki(string? file, ReadOnlySpan<byte> image, FirmwareState firmware, string? unseen)
    {
        if (unseen is not null)
            return new Fact("uki", Verdict.Unchecked, $"the EFI partition was not looked at: {unseen}");
        if (file is null)
            return new Fact("uki", Verdict.Wrong, "the EFI partition has no UKI of the deployment that runs");
        string? started = firmware.StartedImage?.Replace('\\', '/').TrimStart('/');
        if (started is not null && !started.Equals(file, StringComparison.OrdinalIgnoreCase))
            return new Fact("uki", Verdict.Wrong, $"{started} was started, and {file} is the deployment's").With(("file", file), ("started", started));
        if (firmware.Certificates is not { Count: > 0 } trusted)
            return new Fact("uki", Verdict.Unchecked, "the firmware has no db that would say whose signature counts").With(("file", file), ("started", started));
        try
        {
            (byte[] program, IReadOnlyList<byte[]> signatures) = PeSignatures.Detach(image);
            Checksum digest = PeDigest.Of(program);
            if (firmware.Revoked.FirstOrDefault(revoked => signatures.Any(each => each.AsSpan().IndexOf(revoked.RawData) >= 0)) is { } refused)
                return new Fact("uki", Verdict.Wrong, $"{file} bears a signature by {refused.Subject}, whom the firmware's dbx refuses").With(("digest", digest.ToString()), ("file", file), ("started", started));
            X509Certificate2? signer = signatures.Select(each => Authenticode.Verify(each, digest, trusted)).FirstOrDefault(static each => each is not null);
            return new Fact("uki", signer is null ? Verdict.Wrong : Verdict.Ok, signer is not null
                ? $"{file} is signed by {signer.Subject}, whom the firmware trusts"
                : $"none of {file}'s {signatures.Count} signatures is by a certificate of the firmware's db, and for these bytes").With(("digest", digest.ToString()), ("file", file), ("started", started));
        }
        catch (MalformedException broken)
        {
            return new Fact("uki", Verdict.Wrong, $"{file} is no UKI: {broken.Message}").With(("file", file), ("started", started));
        }
    }

    /// <summary>The command lines in a UKI, that of each menu entry; none where it is no UKI.</summary>
    public static IReadOnlyList<string> CommandLinesIn(ReadOnlyMemory<byte> image)
    {
        try
        {
            return [.. UnifiedKernelImage.Read(image).Where(static section => section.Name == ".cmdline")
                .Select(static section => System.Text.Encoding.UTF8.GetString(section.Content.Span).TrimEnd('\0', '\n')).Distinct()];
        }
        catch (MalformedException) // judged as a UKI, where it is wrong
        {
            return [];
        }
    }
}
