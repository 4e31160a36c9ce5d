using System.Globalization;
using Sbox.Codecs;

namespace Sbox.Boot;

/// <summary>Which deployment: a stateroot, a commit, and a serial that tells apart several of the same commit.</summary>
/// <param name="Os">The stateroot's name: <c>debian</c>.</param>
/// <param name="Commit">The commit that was checked out.</param>
/// <param name="Serial">0 and up.</param>
public readonly record struct DeploymentName(string Os, Checksum Commit, int Serial)
{
    /// <summary>The directory of the checkout, from the physical root, without a leading slash.</summary>
    public string Directory => $"ostree/deploy/{Os}/deploy/{Commit}.{Serial.ToString(CultureInfo.InvariantCulture)}";

    /// <summary>The directory that is /var in all deployments of the stateroot.</summary>
    public string VarDirectory => $"ostree/deploy/{Os}/var";

    /// <summary>As a person reads it: the first 12 digits of the commit.</summary>
    public string Short => $"{Os}/{Commit.ToString()[..12]}.{Serial.ToString(CultureInfo.InvariantCulture)}";

    /// <summary>Reads <c>OS/CHECKSUM.SERIAL</c>.</summary>
    /// <returns>False when it is anything else.</returns>
    public static bool TryParse(string text, out DeploymentName name)
    {
        name = default;
        int slash = text.IndexOf('/', StringComparison.Ordinal);
        int dot = text.LastIndexOf('.');
        if (slash <= 0 || dot < slash || text[..slash] is "." or ".."
            || !Checksum.TryParse(text.AsSpan(slash + 1, dot - slash - 1), out Checksum commit)
            || !int.TryParse(text.AsSpan(dot + 1), NumberStyles.None, CultureInfo.InvariantCulture, out int serial))
            return false;
        name = new DeploymentName(text[..slash], commit, serial);
        return true;
    }

    /// <summary><c>OS/CHECKSUM.SERIAL</c>, as the kernel command line has it.</summary>
    public override string ToString() => $"{Os}/{Commit}.{Serial.ToString(CultureInfo.InvariantCulture)}";
}
