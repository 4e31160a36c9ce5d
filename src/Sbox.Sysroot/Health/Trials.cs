using System.Globalization;
using System.Text;
using Sbox.Boot;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>A version that has not been found good yet.</summary>
/// <param name="Left">How often it may still fail to come up.</param>
/// <param name="CountedIn">The boot in which a try was counted last, by the kernel's boot_id; null where none was.</param>
internal sealed record Trial(int Left, string? CountedIn);

/// <summary>
/// The versions on trial: <c>/var/lib/sbox/trials</c>, one a line, <c>COMMIT.SERIAL TRIES BOOT</c>, the boot <c>-</c> where no try was counted.
/// What is not in it was found good, or is not tried.
/// </summary>
internal static class Trials
{
    private const string Name = "trials", Never = "-";

    /// <summary>Reads a stateroot's; lines that cannot be read are passed over.</summary>
    public static IReadOnlyDictionary<DeploymentName, Trial> Read(OstreeSysroot sysroot, string os)
    {
        string text = sysroot.Root.TryReadAll($"{Layout.Stateroot(os)}/var/lib/sbox/{Name}") is { } bytes ? Encoding.UTF8.GetString(bytes) : "";
        var trials = new Dictionary<DeploymentName, Trial>();
        foreach (string line in text.Split('\n'))
        {
            if (line.Split(' ') is [var name, var left, var boot] && DeploymentName.TryParse($"{os}/{name}", out DeploymentName parsed)
                && int.TryParse(left, NumberStyles.None, CultureInfo.InvariantCulture, out int tries))
            {
                trials[parsed] = new Trial(tries, boot == Never ? null : boot);
            }
        }

        return trials;
    }

    /// <summary>One's; null where it is not on trial.</summary>
    public static Trial? Of(OstreeSysroot sysroot, DeploymentName name) => Read(sysroot, name.Os).GetValueOrDefault(name);

    /// <summary>Puts one on trial, or changes what is left of it.</summary>
    public static void Set(OstreeSysroot sysroot, DeploymentName name, Trial trial) => Change(sysroot, name, trials => trials[name] = trial);

    /// <summary>Ends one's trial.</summary>
    public static void End(OstreeSysroot sysroot, DeploymentName name)
    {
        if (Of(sysroot, name) is not null)
            Change(sysroot, name, trials => trials.Remove(name));
    }

    // Those of deployments that are gone are forgotten at this occasion.
    private static void Change(OstreeSysroot sysroot, DeploymentName name, Action<Dictionary<DeploymentName, Trial>> change)
    {
        Dictionary<DeploymentName, Trial> trials = new(Read(sysroot, name.Os).Where(each => sysroot.Root.Exists(each.Key.Directory)));
        change(trials);
        string directory = $"{Layout.Stateroot(name.Os)}/var/lib/sbox";
        sysroot.Root.MakeDirs(directory);
        using Dir own = sysroot.Root.OpenDir(directory);
        Durable.Replace(own, Name, Encoding.UTF8.GetBytes(string.Concat(
            trials.Select(static each => string.Create(CultureInfo.InvariantCulture, $"{each.Key.Commit}.{each.Key.Serial} {each.Value.Left} {each.Value.CountedIn ?? Never}\n")))));
    }
}
