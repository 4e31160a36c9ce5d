using System.Text;

namespace Sbox.Boot;

/// <summary>A kernel module of an initrd.</summary>
/// <param name="Name">Its name, with <c>_</c> where the file may have <c>-</c>.</param>
/// <param name="Needs">Modules that come before it, in order; each is listed before those that need it.</param>
public sealed record ListedModule(string Name, IReadOnlyList<string> Needs);

/// <summary>
/// Which kernel modules an initrd has and which devices they are for: the part of modules.dep, modules.softdep and modules.alias that
/// is about them. Made when the initrd is built, read by sbox-root.
/// </summary>
/// <param name="Modules">The modules, each after what it needs.</param>
/// <param name="Aliases">Pattern of a device's modalias (shell wildcards) and the module that drives it.</param>
/// <remarks>docs/formats/initrd.md.</remarks>
public sealed record ModuleIndex(IReadOnlyList<ListedModule> Modules, IReadOnlyList<KeyValuePair<string, string>> Aliases)
{
    /// <summary>Where an initrd keeps it.</summary>
    public const string PathInInitrd = "usr/lib/sbox/modules";

    /// <summary>Where an initrd keeps a module's bytes, not compressed.</summary>
    public static string FileInInitrd(string module) => $"usr/lib/modules/{module}.ko";

    /// <summary>The module names that drive a device, most specific patterns not preferred: udev loads all that match, too.</summary>
    public IEnumerable<string> For(string modalias) =>
        Aliases.Where(alias => AliasPattern.Matches(alias.Key, modalias)).Select(static alias => alias.Value).Distinct();

    /// <summary>A module with all that it needs, in the order in which they are loaded; empty when it is not listed: built in, or absent.</summary>
    public IReadOnlyList<string> LoadOrder(string module)
    {
        var order = new List<string>();
        var seen = new HashSet<string>(StringComparer.Ordinal);
        Visit(module);
        return order;

        void Visit(string name)
        {
            if (!seen.Add(name) || Modules.FirstOrDefault(each => each.Name == name) is not { } found)
                return;
            foreach (string need in found.Needs)
                Visit(need);
            order.Add(name);
        }
    }

    /// <summary>Lines <c>module NAME NEEDED...</c> and <c>alias PATTERN NAME</c>.</summary>
    public override string ToString()
    {
        var text = new StringBuilder();
        foreach (ListedModule module in Modules)
            text.Append("module ").AppendJoin(' ', module.Needs.Prepend(module.Name)).Append('\n');
        foreach ((string pattern, string module) in Aliases)
            text.Append("alias ").Append(pattern).Append(' ').Append(module).Append('\n');
        return text.ToString();
    }

    /// <summary>Reads what <see cref="ToString"/> wrote; lines of another kind are for newer versions.</summary>
    public static ModuleIndex Parse(string text)
    {
        var modules = new List<ListedModule>();
        var aliases = new List<KeyValuePair<string, string>>();
        foreach (string line in text.Split('\n'))
        {
            string[] words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (words is ["module", var name, .. var needs])
                modules.Add(new ListedModule(name, needs));
            else if (words is ["alias", var pattern, var module])
                aliases.Add(new(pattern, module));
        }

        return new ModuleIndex(modules, aliases);
    }
}
