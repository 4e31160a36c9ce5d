using Sbox.Boot;

namespace Sbox.Image;

/// <summary>The modules of a tree's kernel, as depmod describes them, and the part of them that an initrd takes.</summary>
/// <param name="tree">The tree.</param>
/// <param name="kernel">The kernel's version.</param>
internal sealed class KernelModuleSet(TreeRoot tree, string kernel)
{
    private readonly string directory = $"usr/lib/modules/{kernel}";

    // Module names to files below the directory, and to the modules they need, by modules.dep: "a.ko.xz: b.ko.xz c.ko.xz".
    private readonly Dictionary<string, (string File, string[] Needs)> modules = ReadDependencies(tree.ReadText($"usr/lib/modules/{kernel}/modules.dep"));

    /// <summary>Where a module's file is in the tree.</summary>
    public string FileOf(string module) => $"{directory}/{modules[module].File}";

    /// <summary>The drivers with what they need, and the devices that they are for. What the kernel has built in is left out.</summary>
    /// <param name="drivers">Names; those that this kernel does not have are left out, since not every kernel has every driver.</param>
    /// <param name="required">Names that must be there, as modules or built in.</param>
    /// <exception cref="BuildFailedException">A required one is not there.</exception>
    public ModuleIndex Choose(IReadOnlyList<string> drivers, IReadOnlyList<string> required)
    {
        string[] builtIn = [.. Lines("modules.builtin").Select(NameOf)];
        foreach (string driver in required.Select(Normal))
        {
            if (!modules.ContainsKey(driver) && !builtIn.Contains(driver))
                throw new BuildFailedException("initrd", $"the recipe wants the driver '{driver}' in the initrd, and kernel {kernel} has none of this name");
        }

        List<(string Pattern, string Module)> aliases = [.. Words("modules.alias", "alias").Select(static words => (words[1], Normal(words[2])))];
        ILookup<string, string> before = Words("modules.softdep", "softdep").SelectMany(words => Before(words, aliases)).ToLookup(static pair => pair.Key, static pair => pair.Value);
        var chosen = new List<ListedModule>();
        var seen = new HashSet<string>(StringComparer.Ordinal); // soft dependencies may lead in a circle
        foreach (string driver in drivers.Select(Normal))
            Add(driver);
        return new ModuleIndex(chosen, [.. aliases
            .Where(alias => chosen.Exists(module => module.Name == alias.Module) && alias.Pattern.Contains(':', StringComparison.Ordinal))
            .Select(static alias => KeyValuePair.Create(alias.Pattern, alias.Module))]);

        void Add(string module)
        {
            if (!modules.TryGetValue(module, out (string File, string[] Needs) found) || !seen.Add(module))
                return;
            string[] needs = [.. found.Needs.Select(NameOf), .. before[module].Where(modules.ContainsKey)];
            foreach (string need in needs)
                Add(need);
            chosen.Add(new ListedModule(module, needs));
        }
    }

    // "softdep ext4 pre: crypto-crc32c post: x": what is wanted is often an alias of several modules, the fastest first.
    private static IEnumerable<KeyValuePair<string, string>> Before(string[] words, List<(string Pattern, string Module)> aliases) => words
        .SkipWhile(static word => word != "pre:").Skip(1).TakeWhile(static word => word != "post:")
        .SelectMany(wanted => aliases.Where(alias => alias.Pattern == wanted).Select(static alias => alias.Module).Append(Normal(wanted)))
        .Select(module => KeyValuePair.Create(Normal(words[1]), module));

    private static Dictionary<string, (string File, string[] Needs)> ReadDependencies(string text) => text
        .Split('\n', StringSplitOptions.RemoveEmptyEntries)
        .Select(static line => line.Split(':', 2))
        .ToDictionary(
            static parts => NameOf(parts[0]),
            static parts => (parts[0], parts[1].Split(' ', StringSplitOptions.RemoveEmptyEntries)),
            StringComparer.Ordinal);

    private IEnumerable<string> Lines(string name) => tree.ReadTextOrEmpty($"{directory}/{name}").Split('\n', StringSplitOptions.RemoveEmptyEntries);

    private IEnumerable<string[]> Words(string name, string first) => Lines(name)
        .Select(static line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries)).Where(words => words.Length >= 3 && words[0] == first);

    private static string NameOf(string file)
    {
        string name = file[(file.LastIndexOf('/') + 1)..];
        return Normal(name[..name.IndexOf(".ko", StringComparison.Ordinal)]);
    }

    private static string Normal(string name) => name.Replace('-', '_');
}
