using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Image;

/// <summary>
/// Recipe -> immutable tree. The slow parts, packages and initrd, are cached by what goes into them; the rest takes seconds. Needs root,
/// mmdebstrap, tar, zstd, util-linux.
/// </summary>
public sealed class TreeBuilder(BuildCache cache)
{
    /// <summary>Looks at the recipe and the cache; changes nothing.</summary>
    /// <param name="recipe">What to build.</param>
    /// <param name="programs">The box's programs; of no use when the recipe says <c>programs = false</c>.</param>
    /// <param name="refresh">Ask the mirror, whatever is cached.</param>
    /// <exception cref="BuildFailedException">The recipe wants programs and they are not there.</exception>
    public TreePlan Plan(Recipe recipe, BoxPrograms? programs, bool refresh = false)
    {
        BoxPrograms? wanted = recipe.Programs ? programs : null;
        if (recipe.Programs && (wanted is null || wanted.Missing().Count > 0))
            throw new BuildFailedException("programs", $"the recipe puts sbox into the tree, but there is no {string.Join(", no ", wanted?.Missing() ?? ["sbox"])}");

        using IDisposable held = cache.Hold();
        Checksum key = RecipeDigest.OfPackages(recipe.Packages);
        using var digest = new InputDigest("sbox tree 1");
        digest.Add(RecipeDigest.Of(recipe).Span).Add(wanted is null ? [] : wanted.Digest().Span);
        IReadOnlyList<InstalledPackage>? cached = refresh ? null : BaseTree.Packages(cache, $"{key}");
        bool initrd = cached is not null && File.Exists(cache.Initrd($"{Initrd.Key(recipe, cached, wanted)}"));
        return new TreePlan(recipe, wanted, digest.Finish(), key, cached, initrd)
        {
            BaseMade = refresh ? null : BaseTree.Made(cache, $"{key}"),
        };
    }

    /// <summary>Builds the tree; what fails or is cancelled leaves only the cache behind.</summary>
    /// <exception cref="BuildFailedException">A tool failed, or the packages make no tree that can boot.</exception>
    public BuiltTree Build(TreePlan plan, IProgress<BuildStep>? progress, CancellationToken cancel)
    {
        BuiltTree built;
        using (cache.Hold())
            built = BuildHeld(plan, progress, cancel);
        try
        {
            cache.Tidy();
        }
        catch (IOException untidy)
        {
            // The tree is built: a cache that cannot be tidied is no reason to lose it.
            progress?.Report(new BuildStep("tidy", untidy.Message));
        }

        return built;
    }

    /// <summary>Counts as a use of the cached base tree, though nothing was built of it.</summary>
    internal void Touch(TreePlan plan)
    {
        using IDisposable held = cache.Hold();
        if (BaseTree.IsCached(cache, $"{plan.BaseKey}"))
            BuildCache.Used(cache.BaseTree($"{plan.BaseKey}"));
    }

    private BuiltTree BuildHeld(TreePlan plan, IProgress<BuildStep>? progress, CancellationToken cancel)
    {
        WorkDirectory work = cache.Work();
        try
        {
            StepRunner Step(string name)
            {
                cancel.ThrowIfCancellationRequested();
                var runner = new StepRunner(name, progress, cancel);
                runner.Say("");
                return runner;
            }

            string key = $"{plan.BaseKey}", path = $"{work.Path}/tree";
            BaseTree.Ensure(plan.Recipe.Packages, cache, key, refresh: plan.CachedPackages is null, work.Path, Step("packages"));
            BaseTree.Unpack(cache, key, path, Step("unpack"));
            using var tree = new TreeRoot(path);
            IReadOnlyList<InstalledPackage> packages = PackageList.Parse(tree.ReadText("var/lib/dpkg/status"));
            long timestamp = plan.Recipe.SourceDateEpoch ?? BaseTree.NewestFile(tree);
            string kernel = BootFiles.MoveKernel(tree);

            AddInitrd(tree, plan, packages, kernel, timestamp, Step("initrd"));
            RecipeLayer.Apply(tree, plan, timestamp, Step("recipe"));
            Step("immutable tree");
            ImmutableTree.Make(tree, plan.Recipe.Tmp);
            return new BuiltTree(work, path, plan, kernel, packages, timestamp);
        }
        catch
        {
            work.Dispose();
            throw;
        }
    }

    // The initrd is made of the packages, the programs and, for dracut, its configuration, and nothing else of the recipe: so the key says all.
    private void AddInitrd(TreeRoot tree, TreePlan plan, IReadOnlyList<InstalledPackage> packages, string kernel, long timestamp, StepRunner runner)
    {
        string image = cache.Initrd($"{Initrd.Key(plan.Recipe, packages, plan.Programs)}");
        plan.Programs?.InstallInto(tree);
        if (File.Exists(image))
        {
            runner.Say("from the cache");
            BuildCache.Used(image);
        }
        else
        {
            RecipeLayer.PutFiles(tree, plan.Recipe.Files.Where(file => Initrd.DependsOn(plan.Recipe, file)));
            string made = image + $".{Environment.ProcessId}.tmp";
            Initrd.Make(tree, plan.Recipe, kernel, plan.Programs, timestamp, made, runner);
            BuildCache.Keep(made, image);
        }

        tree.Write($"usr/lib/modules/{kernel}/initramfs.img", File.ReadAllBytes(image));
    }
}
