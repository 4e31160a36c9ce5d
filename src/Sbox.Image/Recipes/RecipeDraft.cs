using Sbox.Sysroot;

namespace Sbox.Image;

/// <summary>A recipe while it is read: the extended one fills it first, then the extending one changes and adds.</summary>
internal sealed class RecipeDraft
{
    public string? Name, Ref, Version, Suite;
    public string Variant = "minbase", Architecture = "amd64", Hostname = "sbox";
    public IReadOnlyList<string> Components = ["main"], Mirrors = [], AptOptions = ["APT::Install-Recommends \"false\""];
    public bool Docs, Locales, Programs = true;
    public TmpPlace Tmp = TmpPlace.Memory;
    public long? SourceDateEpoch;
    public DefaultBoot BootsAs;

    /// <summary>Where that was said last; whether it can be is known at the end only.</summary>
    public (string Path, int Line) BootsAsAt;

    public List<string> Packages { get; } = [];

    public List<string> KernelArguments { get; } = [];

    public List<string> Enable { get; } = [];

    public List<string> Disable { get; } = [];

    public List<string> Mask { get; } = [];

    public InitrdMaker? InitrdMaker;

    /// <summary>Where dracut modules were last named; whether they may be is known at the end only.</summary>
    public (string Path, int Line) InitrdModulesAt;

    public bool EncryptedRoot;

    /// <summary>Where that was said last.</summary>
    public (string Path, int Line) EncryptedRootAt;

    public List<string> InitrdModules { get; } = [];

    public List<string> InitrdDrivers { get; } = [];

    private readonly List<RecipeFile> files = [];
    private readonly List<RecipeUser> users = [];
    private readonly List<RecipeGroup> groups = [];

    /// <summary>Adds a file; one of the same path is replaced in its place.</summary>
    public void Put(RecipeFile file) => Put(files, file, existing => existing.Path == file.Path);

    public void Put(RecipeUser user) => Put(users, user, existing => existing.Name == user.Name);

    public void Put(RecipeGroup group) => Put(groups, group, existing => existing.Name == group.Name);

    /// <summary>The recipe, when nothing is missing.</summary>
    /// <exception cref="RecipeException">A key without which nothing can be built is absent.</exception>
    public Recipe Finish(string path)
    {
        string Need(string? value, string key, string expected) => value ?? throw new RecipeException(path, 1, key, expected, "missing");

        // Without the programs there is no sbox-root to make one of.
        InitrdMaker initrd = InitrdMaker ?? (Programs ? Image.InitrdMaker.Sbox : Image.InitrdMaker.Dracut);
        if (initrd != Image.InitrdMaker.Dracut && InitrdModules.Count > 0)
            throw new RecipeException(InitrdModulesAt.Path, InitrdModulesAt.Line, "initrd.modules", "made-by = \"dracut\" beside them: they are dracut's", $"'{InitrdModules[0]}'");
        if (initrd != Image.InitrdMaker.Sbox && EncryptedRoot)
            throw new RecipeException(EncryptedRootAt.Path, EncryptedRootAt.Line, "initrd.encrypted-root", "made-by = \"sbox\" beside it: it is sbox-root that opens the disk", "true");
        if (BootsAs != DefaultBoot.Normal && !Programs)
            throw new RecipeException(BootsAsAt.Path, BootsAsAt.Line, "boots-as", "programs beside it: it is sbox-root that makes a ghost", $"'{BootsAs.Name()}'");
        var packages = new PackageChoices(
            Need(Suite, "suite", "one of Debian's suites, such as 'trixie'"), Variant, Architecture, Components,
            [.. Packages.Distinct().Order(StringComparer.Ordinal)], Mirrors, AptOptions, Docs, Locales);
        return new Recipe(
            Need(Name, "name", "the stateroot's name, such as 'debian'"), Need(Ref, "ref", "a branch, such as 'debian/13/amd64/minimal'"),
            Need(Version, "version", "text that 'sbox status' shows"), packages, Hostname, KernelArguments, Tmp, Programs, files, users, groups,
            new UnitChoices(Distinct(Enable), Distinct(Disable), Distinct(Mask)), new InitrdChoices(initrd, Distinct(InitrdModules), Distinct(InitrdDrivers), EncryptedRoot),
            SourceDateEpoch) { BootsAs = BootsAs };
    }

    private static IReadOnlyList<string> Distinct(IEnumerable<string> names) => [.. names.Distinct()];

    private static void Put<T>(List<T> list, T item, Predicate<T> same)
    {
        int at = list.FindIndex(same);
        if (at < 0)
            list.Add(item);
        else
            list[at] = item;
    }
}
