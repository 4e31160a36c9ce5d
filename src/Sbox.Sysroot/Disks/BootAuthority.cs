using System.Security.Cryptography.X509Certificates;
using Sbox.Boot;

namespace Sbox.Sysroot;

/// <summary>
/// By whose certificates firmware starts a version: it measures them into register 7, so that versions which different keys sealed open a disk in different states.
/// </summary>
/// <remarks>UEFI's firmware takes a file's signatures in order, and the first that a certificate of db verifies. It measures each certificate once.</remarks>
public static class BootAuthority
{
    /// <summary>The certificates by which it starts the boot loaders and a version.</summary>
    /// <param name="programs">What is on the EFI partition.</param>
    /// <param name="version">The version.</param>
    /// <param name="db">The firmware's certificates.</param>
    public static IReadOnlySet<string> Of(IReadOnlyList<BootProgram> programs, DeploymentName version, IReadOnlyList<X509Certificate2> db) => programs
        .Where(each => each.IsLoader || UnifiedKernel.IsOf(Path.GetFileName(each.Path), version))
        .Select(each => (each.Signatures ?? []).Select(signature => db.FirstOrDefault(certificate => signature.AsSpan().IndexOf(certificate.RawData) >= 0)).FirstOrDefault(static found => found is not null))
        .OfType<X509Certificate2>().Select(static certificate => certificate.Thumbprint).ToHashSet(StringComparer.Ordinal);
}
