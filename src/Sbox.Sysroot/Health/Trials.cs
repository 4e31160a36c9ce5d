using System.Globalization;
using System.Text;
using Sbox.Boot;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>
/// The versions that have not been found good yet, with the tries that each has left: <c>/var/lib/sbox/trials</c>, one a line, <c>COMMIT.SERIAL TRIES</c>.
/// What is not in it was found good, or is not tried.
/// </summary>
internal static class Trials
{
    private const string Name = "trials";

    /// <summary>Reads a stateroot's; lines that cannot be read are passed over.</summary>
    public static IReadOnlyDictionary<DeploymentName, int> Read(OstreeSysroot sysroot, string os)
    {
        string text = sysroot.Root.TryReadAll($"{Layout.Stateroot(os)}/var/lib/sbox/{Name}") is { } bytes ? Encoding.UTF8.GetString(bytes) : "";
        var trials = new Dictionary<DeploymentName, int>();
        foreach (string line in text.Split('\n'))
        {
            if (line.Split(' ') is [var name, var left] && DeploymentName.TryParse($"{os}/{name}", out DeploymentName parsed)
                && int.TryParse(left, NumberStyles.None, CultureInfo.InvariantCulture, out int tries))
            {
                trials[parsed] = tries;
            }
        }

        return trials;
    }

    /// <summary>How many tries one has left; null where it is not on trial.</summary>
    public static int? Of(OstreeSysroot sysroot, DeploymentName name) => Read(sysroot, name.Os).TryGetValue(name, out int left) ? left : null;

    /// <summary>Puts one on trial, or leaves it fewer tries.</summary>
    public static void Set(OstreeSysroot sysroot, DeploymentName name, int left) => Change(sysroot, name, trials => trials[name] = left);

    /// <summary>Ends one's trial.</summary>
    public static void End(OstreeSysroot sysroot, DeploymentName name)
    {
        if (Of(sysroot, name) is not null)
            Change(sysroot, name, trials => trials.Remove(name));
    }

    // Those of deployments that are gone are forgotten at this occasion.
    private static void Change(OstreeSysroot sysroot, DeploymentName name, Action<Dictionary<DeploymentName, int>> change)
    {
        Dictionary<DeploymentName, int> trials = new(Read(sysroot, name.Os).Where(each => sysroot.Root.Exists(each.Key.Directory)));
        change(trials);
        string directory = $"{Layout.Stateroot(name.Os)}/var/lib/sbox";
        sysroot.Root.MakeDirs(directory);
        using Dir own = sysroot.Root.OpenDir(directory);
        Durable.Replace(own, Name, Encoding.UTF8.GetBytes(string.Concat(
            trials.Select(static each => string.Create(CultureInfo.InvariantCulture, $"{each.Key.Commit}.{each.Key.Serial} {each.Value}\n")))));
    }
}
