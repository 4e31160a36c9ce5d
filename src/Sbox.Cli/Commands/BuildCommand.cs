using System.CommandLine;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Image;
using Sbox.Store;

namespace Sbox.Cli.Commands;

/// <summary><c>sbox build</c>: a recipe becomes a commit.</summary>
internal static class BuildCommand
{
    public static Command Make()
    {
        var recipePath = new Argument<string>("RECIPE") { Description = "The recipe, a TOML file; sbox-recipe(5) has its keys" };
        var repo = new Option<string>("--repo") { Description = "The repository to commit to", HelpName = "PATH", Required = true };
        var refresh = new Option<bool>("--refresh") { Description = "Ask the mirror for newer packages (security fixes among them), whatever is cached" };
        var history = new Option<bool>("--keep-history") { Description = "Make the branch's commit the parent of the new one" };
        var dryRun = new Option<bool>("--dry-run") { Description = "Show the plan, and build nothing" };
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand("build", "Build a recipe's Debian tree and commit it")
        {
            Details =
            [
                "mmdebstrap installs the recipe's packages, the recipe's files are laid over them, the initrd is made, and the tree is made immutable: "
                + "/usr holds all, /etc becomes /usr/etc, /var is rebuilt at boot. The commit carries the version, the recipe's digest and the list of packages.",
                "The same recipe over the same packages gives the same commit, on any machine. What is slow is kept in ${XDG_CACHE_HOME:-~/.cache}/sbox; "
                + "a recipe whose tree the branch has already is not built again.",
                "The base tree (the recipe's packages, unpacked) is kept and used again until --refresh asks the mirror for newer packages: that is how security fixes come. "
                + $"The command says how old the one that it used is. The {BuildCache.BasesKept} base trees and {BuildCache.InitrdsKept} initrds that were used last are kept.",
                "When a package cannot be had or a program fails, the repository stays as it was and the program's last lines are shown.",
            ],
            Examples = [new Example("Build the smallest Debian that is fun to use", "sbox build images/debian-minimal.toml --repo /srv/repo")],
        }.With(recipePath, repo, refresh, history, dryRun, json);
        command.SetAction((parsed, cancel) =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            Recipe recipe = RecipeReader.Read(parsed.GetValue(recipePath)!);
            BoxPrograms? programs = recipe.Programs ? OwnPrograms(recipe.Packages.Docs) : null;
            if (parsed.GetValue(dryRun))
            {
                Say(speaker, new TreeBuilder(BuildCache.OfUser()).Plan(recipe, programs, parsed.GetValue(refresh)));
                return Task.FromResult(0);
            }

            using Repository repository = Repository.Open(parsed.GetValue(repo)!);
            using var line = new ProgressLine(speaker);
            DateTimeOffset started = DateTimeOffset.UtcNow;
            var options = new ImageBuildOptions { Refresh = parsed.GetValue(refresh), KeepHistory = parsed.GetValue(history) };
            ImageBuildResult result = new ImageBuilder(BuildCache.OfUser()).Build(recipe, programs, repository, options, BuildSteps.On(line), cancel);
            line.Dispose();
            if (result.Plan.BaseMade is { } made)
                speaker.Note($"The packages are those of {made:yyyy-MM-dd}, {Age(DateTimeOffset.UtcNow - made)}; --refresh asks the mirror for newer ones");
            speaker.Note(result.AlreadyThere ? $"{recipe.Ref} has this tree already" : $"{recipe.Ref} leads to version {recipe.Version} now");
            speaker.Answer($"{result.Commit}", writer =>
            {
                writer.WriteString("commit", $"{result.Commit}");
                writer.WriteString("ref", recipe.Ref);
                writer.WriteString("version", recipe.Version);
                writer.WriteBoolean("built", !result.AlreadyThere);
                writer.WriteString("packages-of", (result.Plan.BaseMade ?? started).UtcDateTime);
            });
            return Task.FromResult(0);
        });
        return command;
    }

    private static void Say(Speaker speaker, TreePlan plan) => speaker.Answer(plan.ToString().TrimEnd(), writer =>
    {
        writer.WriteBoolean("dry-run", true);
        writer.WriteString("recipe", plan.Recipe.Name);
        writer.WriteString("ref", plan.Recipe.Ref);
        writer.WriteString("version", plan.Recipe.Version);
        writer.WriteString("digest", $"{plan.Digest}");
        writer.WriteString("suite", plan.Recipe.Packages.Suite);
        // How many the mirror would bring is known when it has.
        if (plan.CachedPackages is { } packages)
            writer.WriteNumber("packages", packages.Count);
        else
            writer.WriteNull("packages");
        if (plan.BaseMade is { } made)
            writer.WriteString("packages-of", made.UtcDateTime);
        else
            writer.WriteNull("packages-of");
        writer.WriteNumber("files", plan.Recipe.Files.Count);
        writer.WriteBoolean("programs", plan.Programs is not null);
        writer.WriteBoolean("initrd-cached", plan.InitrdCached);
    });

    internal static string Age(TimeSpan age) => age switch
    {
        { TotalDays: < 1 } => "less than a day old",
        { TotalDays: < 2 } => "1 day old",
        _ => $"{(int)age.TotalDays} days old",
    };

    // A box carries the program that builds it. Beside this one lie the others, in out/; on an installed machine they have their places.
    private static BoxPrograms OwnPrograms(bool docs)
    {
        string own = Environment.ProcessPath ?? "/usr/bin/sbox";
        string beside = Path.GetDirectoryName(own) ?? "/";
        var programs = Directory.Exists(Path.Combine(beside, "90sbox"))
            ? new BoxPrograms(own, Path.Combine(beside, "sbox-root"), Path.Combine(beside, "90sbox"))
            {
                SentinelPolicy = Path.Combine(beside, "sentinel", "sentinel.d"),
                SentinelUnit = Path.Combine(beside, "sentinel", "sbox-watch.service"),
                VerityUnit = Path.Combine(beside, "verity", "sbox-verity.service"),
                BoxUnits = Path.Combine(beside, "box"),
                Tombs = Path.Combine(beside, "tomb"),
                DiskUnit = Path.Combine(beside, "disk", "sbox-disk.service"),
                ManualPages = docs ? Path.Combine(beside, "man") : null,
            }
            : new BoxPrograms(own, "/usr/lib/sbox/sbox-root", "/usr/lib/dracut/modules.d/90sbox")
            {
                SentinelPolicy = "/usr/lib/sbox/sentinel.d",
                SentinelUnit = "/usr/lib/systemd/system/sbox-watch.service",
                VerityUnit = "/usr/lib/systemd/system/sbox-verity.service",
                BoxUnits = "/usr/lib/sbox/box",
                Tombs = "/usr/lib/sbox/tomb",
                DiskUnit = "/usr/lib/systemd/system/sbox-disk.service",
                ManualPages = docs ? "/usr/share/man" : null,
            };
        return programs.Missing() is [var missing, ..]
            ? throw new Finding($"{missing}: missing, and a box cannot boot without it", "./build makes it in out/, beside sbox; or say programs = false in the recipe")
            : programs;
    }
}

/// <summary>What building says while it goes on.</summary>
internal static class BuildSteps
{
    /// <summary>Steps stay on the screen; the tools' lines pass by.</summary>
    public static IProgress<BuildStep> On(ProgressLine line) => new Reporter<BuildStep>(step =>
    {
        line.Step(step.Step);
        if (step.Detail.Length > 0)
            line.Update($"  {step.Detail}");
    });
}
