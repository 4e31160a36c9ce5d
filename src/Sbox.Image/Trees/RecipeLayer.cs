using System.Globalization;
using System.Text;

namespace Sbox.Image;

/// <summary>What a recipe adds to its packages: identity, users, files, units. Done while the tree is still an ordinary Debian.</summary>
internal static class RecipeLayer
{
    public static void Apply(TreeRoot tree, TreePlan plan, long timestamp, StepRunner runner)
    {
        Recipe recipe = plan.Recipe;
        Identify(tree, recipe);
        AddUsers(tree, recipe, timestamp, runner);
        PutFiles(tree, recipe.Files);
        foreach ((string verb, IReadOnlyList<string> units) in new[] { ("enable", recipe.Units.Enable), ("disable", recipe.Units.Disable), ("mask", recipe.Units.Mask) })
        {
            // One at a time: systemctl's complaint about a name that is not there must name it.
            foreach (string unit in units)
                runner.Run(InTree.Command(tree, "systemctl", ["--quiet", verb, unit], timestamp));
        }
    }

    /// <summary>Puts files and links; an existing one is replaced.</summary>
    public static void PutFiles(TreeRoot tree, IEnumerable<RecipeFile> files)
    {
        var names = new TreeNames(tree);
        foreach (RecipeFile file in files)
        {
            if (file.LinkTarget is { } target)
            {
                tree.Link(file.Path, target);
                continue;
            }

            uint uid = names.Uid(file.Owner) ?? throw new BuildFailedException("recipe", $"{file.Path} shall belong to '{file.Owner}', a user that the tree lacks");
            uint gid = names.Gid(file.Group) ?? throw new BuildFailedException("recipe", $"{file.Path} shall belong to '{file.Group}', a group that the tree lacks");
            tree.Write(file.Path, file.Content!.Value.Span, file.Mode, uid, gid);
        }
    }

    private static void Identify(TreeRoot tree, Recipe recipe)
    {
        tree.Write("etc/hostname", recipe.Hostname + "\n");
        if (!tree.Exists("etc/hosts"))
            tree.Write("etc/hosts", $"127.0.0.1 localhost\n127.0.1.1 {recipe.Hostname}\n::1 localhost ip6-localhost ip6-loopback\n");

        // systemd-boot sorts entries by the version before it looks at their file names.
        const string release = "usr/lib/os-release";
        IEnumerable<string> lines = tree.ReadTextOrEmpty(release).Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Where(line => !line.StartsWith("IMAGE_ID=", StringComparison.Ordinal) && !line.StartsWith("IMAGE_VERSION=", StringComparison.Ordinal));
        tree.Write(release, string.Join('\n', [.. lines, $"IMAGE_ID={recipe.Name}", $"IMAGE_VERSION=\"{recipe.Version}\"", ""]));
    }

    private static void AddUsers(TreeRoot tree, Recipe recipe, long timestamp, StepRunner runner)
    {
        if (recipe.Users.Count + recipe.Groups.Count == 0)
            return;

        // TreeUsers describes the outcome for later boots, so the lines themselves need not stay.
        const string lines = "usr/lib/sysusers.d/sbox-recipe.conf";
        tree.Write(lines, SysusersLines(recipe));
        runner.Run(InTree.Command(tree, "systemd-sysusers", ["/" + lines], timestamp));
        tree.Remove(lines);
        foreach (RecipeUser user in recipe.Users.Where(user => user.PasswordHash is not null))
            SetPassword(tree, user);

        // A home is data: made at boot where it is missing, and never part of the tree.
        var homes = new StringBuilder();
        foreach (RecipeUser user in recipe.Users.Where(user => user.Home?.StartsWith("/home/", StringComparison.Ordinal) ?? false))
            homes.Append(CultureInfo.InvariantCulture, $"d /var{TmpfilesLines.Escape(user.Home!)} 0700 {user.Name} {user.Group ?? user.Name} - -\n");
        if (homes.Length > 0)
            tree.Write("usr/lib/tmpfiles.d/sbox-recipe.conf", homes.ToString());
    }

    // sysusers.d(5): g NAME ID; u NAME ID "DESCRIPTION" HOME SHELL; m USER GROUP.
    internal static string SysusersLines(Recipe recipe)
    {
        var lines = new StringBuilder("# The recipe's users and groups.\n");
        foreach (RecipeGroup group in recipe.Groups)
            lines.Append(CultureInfo.InvariantCulture, $"g {group.Name} {group.Gid?.ToString(CultureInfo.InvariantCulture) ?? "-"}\n");
        foreach (RecipeUser user in recipe.Users)
        {
            string id = user.Uid?.ToString(CultureInfo.InvariantCulture) ?? "-";
            string description = user.Description.Length > 0 ? $"\"{user.Description.Replace("%", "%%", StringComparison.Ordinal)}\"" : "-";
            lines.Append(CultureInfo.InvariantCulture, $"u {user.Name} {id}{(user.Group is { } group ? ":" + group : "")} {description} {user.Home ?? "-"} {user.Shell ?? "-"}\n");
            foreach (string further in user.Groups)
                lines.Append(CultureInfo.InvariantCulture, $"m {user.Name} {further}\n");
        }

        return lines.ToString();
    }

    private static void SetPassword(TreeRoot tree, RecipeUser user)
    {
        string[] lines = tree.ReadText("etc/shadow").Split('\n');
        int at = Array.FindIndex(lines, line => line.StartsWith(user.Name + ":", StringComparison.Ordinal));
        if (at < 0)
            throw new BuildFailedException("recipe", $"user '{user.Name}' has no line in /etc/shadow");
        string[] fields = lines[at].Split(':');
        fields[1] = user.PasswordHash!;
        lines[at] = string.Join(':', fields);
        tree.Rewrite("etc/shadow", string.Join('\n', lines));
    }
}
