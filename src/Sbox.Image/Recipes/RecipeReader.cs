using System.Globalization;
using System.Text;
using Sbox.Boot;
using Sbox.Sysroot;
using Tomlyn.Parsing;
using Tomlyn.Syntax;

namespace Sbox.Image;

/// <summary>Reads recipes; docs/recipe.md is the reference of their keys.</summary>
public static class RecipeReader
{
    private const int ExtendsAtMost = 16;

    /// <summary>Reads a recipe, what it extends, and the files that it names.</summary>
    /// <param name="path">The TOML file; paths in it are relative to its directory.</param>
    /// <exception cref="RecipeException">A line says something that cannot be built.</exception>
    /// <exception cref="IOException">The recipe itself cannot be read.</exception>
    public static Recipe Read(string path)
    {
        var draft = new RecipeDraft();
        ReadInto(draft, path, []);
        return draft.Finish(path);
    }

    private static void ReadInto(RecipeDraft draft, string path, IReadOnlyList<string> chain)
    {
        string text = File.ReadAllText(path);
        DocumentSyntax document = SyntaxParser.Parse(text, path, validate: true);
        foreach (DiagnosticMessage message in document.Diagnostics)
        {
            if (message.Kind == DiagnosticMessageKind.Error)
                throw new RecipeException(path, message.Span.Start.Line + 1, "", "TOML", message.Message.TrimEnd('.'));
        }

        var top = new RecipeTable(path, "", line: 1, document.KeyValues);
        if (top.String("extends") is { } extended)
            Extend(draft, path, top, extended, [.. chain, Path.GetFullPath(path)]);

        ReadTop(draft, top);
        top.Finish();
        foreach (TableSyntaxBase table in document.Tables)
            ReadTable(draft, path, table);
    }

    private static void Extend(RecipeDraft draft, string path, RecipeTable top, string extended, IReadOnlyList<string> chain)
    {
        string parent = Path.Combine(Path.GetDirectoryName(path) ?? "", extended);
        if (chain.Contains(Path.GetFullPath(parent)))
            throw top.Invalid("extends", "another recipe", $"'{extended}' leads back to itself");
        if (chain.Count > ExtendsAtMost)
            throw top.Invalid("extends", $"a chain of at most {ExtendsAtMost} recipes", "a longer one");
        if (!File.Exists(parent))
            throw top.Invalid("extends", "a recipe beside this one", $"no file '{extended}'");
        ReadInto(draft, parent, chain);
    }

    private static void ReadTop(RecipeDraft draft, RecipeTable top)
    {
        draft.Name = top.String("name", RecipeNames.IsStateroot, "letters, digits, '.', '_' and '-'") ?? draft.Name;
        draft.Ref = top.String("ref", RecipeNames.IsRef, "parts of letters, digits, '.', '_' and '-' with '/' between them") ?? draft.Ref;
        draft.Version = top.String("version", text => text.Length > 0 && !text.AsSpan().ContainsAny(" \t\n\""), "text without spaces") ?? draft.Version;
        draft.Suite = top.String("suite", RecipeNames.IsSuite, "one of Debian's suites, such as 'trixie'") ?? draft.Suite;
        draft.Variant = top.String("variant", RecipeNames.IsVariant, RecipeNames.Variants) ?? draft.Variant;
        draft.Architecture = top.String("architecture", RecipeNames.IsSuite, "one of Debian's architectures, such as 'amd64'") ?? draft.Architecture;
        draft.Components = top.Strings("components", RecipeNames.IsSuite, "parts of Debian's archive") ?? draft.Components;
        draft.Mirrors = top.Strings("mirrors", text => text.Length > 0 && !text.Contains('\n', StringComparison.Ordinal), "URLs or lines of sources.list") ?? draft.Mirrors;
        draft.AptOptions = top.Strings("apt-options") ?? draft.AptOptions;
        draft.Docs = top.Boolean("docs") ?? draft.Docs;
        draft.Locales = top.Boolean("locales") ?? draft.Locales;
        draft.Hostname = top.String("hostname", RecipeNames.IsHostname, "a host name") ?? draft.Hostname;
        draft.Programs = top.Boolean("programs") ?? draft.Programs;
        draft.SourceDateEpoch = top.Integer("source-date-epoch", 0, uint.MaxValue) ?? draft.SourceDateEpoch;
        draft.Tmp = top.String("tmp", text => text is "memory" or "disk", "'memory' or 'disk'") switch
        {
            "memory" => TmpPlace.Memory,
            "disk" => TmpPlace.Disk,
            _ => draft.Tmp,
        };
        if (DefaultBoots.Parse(top.String("boots-as", static text => DefaultBoots.Parse(text) is not null, DefaultBoots.Names)) is { } boots)
        {
            draft.BootsAs = boots;
            draft.BootsAsAt = top.At("boots-as");
        }

        draft.Packages.AddRange(top.Strings("packages", RecipeNames.IsPackage, "names of Debian packages") ?? []);
        foreach (string package in top.Strings("without-packages", RecipeNames.IsPackage, "names of Debian packages") ?? [])
        {
            if (draft.Packages.RemoveAll(name => name == package) == 0)
                throw top.Invalid("without-packages", "packages that the extended recipe names", $"'{package}'");
        }

        IReadOnlyList<string> arguments = top.Strings("kernel-arguments", text => text.Length > 0 && !text.Contains('\n', StringComparison.Ordinal), "one argument each") ?? [];
        // They are in every entry of the menu: a factory reset that is a ghost too does not boot.
        if (arguments.FirstOrDefault(static each => each is RootConfig.GhostArgument or RootConfig.FromRamArgument or RootConfig.ResetArgument) is { } entry)
            throw top.Invalid("kernel-arguments", "arguments for all entries of the boot menu; boots-as = \"ghost\" chooses the entry that boots", $"'{entry}'");
        draft.KernelArguments.AddRange(arguments);
    }

    private static void ReadTable(RecipeDraft draft, string path, TableSyntaxBase syntax)
    {
        string name = syntax.Name!.ToString().Trim();
        int line = syntax.Span.Start.Line + 1;
        bool list = syntax is TableArraySyntax;
        var table = new RecipeTable(path, name, line, syntax.Items);
        switch (name, list)
        {
            case ("file", true):
                draft.Put(RecipeFileReader.Read(table, path));
                break;
            case ("user", true):
                draft.Put(ReadUser(table));
                break;
            case ("group", true):
                draft.Put(new RecipeGroup(ReadName(table), (uint?)table.Integer("gid", 0, uint.MaxValue - 1)));
                break;
            case ("units", false):
                draft.Enable.AddRange(table.Strings("enable", RecipeNames.IsUnit, "names of systemd units") ?? []);
                draft.Disable.AddRange(table.Strings("disable", RecipeNames.IsUnit, "names of systemd units") ?? []);
                draft.Mask.AddRange(table.Strings("mask", RecipeNames.IsUnit, "names of systemd units") ?? []);
                break;
            case ("initrd", false):
                draft.InitrdMaker = table.String("made-by", text => text is "sbox" or "dracut", "'sbox' or 'dracut'") switch
                {
                    "sbox" => InitrdMaker.Sbox,
                    "dracut" => InitrdMaker.Dracut,
                    _ => draft.InitrdMaker,
                };
                if (table.Strings("modules", RecipeNames.IsStateroot, "names of dracut modules") is { Count: > 0 } modules)
                {
                    draft.InitrdModules.AddRange(modules);
                    draft.InitrdModulesAt = (path, line);
                }

                if (table.Boolean("encrypted-root") is { } encrypted)
                {
                    draft.EncryptedRoot = encrypted;
                    draft.EncryptedRootAt = (path, line);
                }

                draft.InitrdDrivers.AddRange(table.Strings("drivers", RecipeNames.IsStateroot, "names of kernel modules") ?? []);
                break;
            case ("file" or "user" or "group", false):
                throw new RecipeException(path, line, name, $"[[{name}]], since there can be many", $"[{name}]");
            case ("units" or "initrd", true):
                throw new RecipeException(path, line, name, $"[{name}], since there is one", $"[[{name}]]");
            default:
                string expected = NearestName.Of(name, ["file", "user", "group", "units", "initrd"]) is { } near
                    ? $"'{near}'?" : "[[file]], [[user]], [[group]], [units] or [initrd]";
                throw new RecipeException(path, line, name, expected, "unknown table");
        }

        table.Finish();
    }

    private static RecipeUser ReadUser(RecipeTable table)
    {
        string name = ReadName(table);
        return new RecipeUser(
            name,
            (uint?)table.Integer("uid", 0, uint.MaxValue - 1),
            table.String("group", RecipeNames.IsUser, "a group's name"),
            table.Strings("groups", RecipeNames.IsUser, "groups' names") ?? [],
            table.String("description", RecipeNames.IsPasswdField, "text without ':' or line breaks") ?? "",
            table.String("home", text => text.StartsWith('/') && RecipeNames.IsPasswdField(text), "an absolute path"),
            table.String("shell", text => text.StartsWith('/') && RecipeNames.IsPasswdField(text), "an absolute path"),
            table.String("password-hash", RecipeNames.IsPasswdField, "a hash as 'openssl passwd -6' prints it, or ''"));
    }

    private static string ReadName(RecipeTable table) =>
        table.String("name", RecipeNames.IsUser, "lower-case letters, digits, '_' and '-'") ?? throw table.Missing("name", "lower-case letters, digits, '_' and '-'");
}

/// <summary>Reads a <c>[[file]]</c> table.</summary>
internal static class RecipeFileReader
{
    public static RecipeFile Read(RecipeTable table, string recipePath)
    {
        string path = table.String("path", IsTreePath, "an absolute path without '.', '..' or '//'") ?? throw table.Missing("path", "an absolute path");
        uint mode = ReadMode(table);
        string owner = table.String("owner", RecipeNames.IsUserOrNumber, "a user's name or number") ?? "root";
        string group = table.String("group", RecipeNames.IsUserOrNumber, "a group's name or number") ?? "root";
        string? content = table.String("content");
        string? source = table.String("source");
        string? link = table.String("link");
        if ((content, source, link) is not ((not null, null, null) or (null, not null, null) or (null, null, not null)))
            throw table.Invalid(content is not null ? "content" : "source", "one of 'content', 'source' and 'link'", content is null && source is null ? "none of them" : "more than one");

        if (link is not null)
            return new RecipeFile(path, Permission.Link, owner, group, Content: null, link);
        byte[] bytes = source is null ? Encoding.UTF8.GetBytes(content!) : ReadSource(table, recipePath, source);
        return new RecipeFile(path, mode, owner, group, bytes, LinkTarget: null);
    }

    private static byte[] ReadSource(RecipeTable table, string recipePath, string source)
    {
        string file = Path.Combine(Path.GetDirectoryName(recipePath) ?? "", source);
        return File.Exists(file) ? File.ReadAllBytes(file) : throw table.Invalid("source", "a file beside the recipe", $"no file '{source}'");
    }

    // TOML has 0o644, but a mode is written as chmod takes it: a string of octal digits.
    private static uint ReadMode(RecipeTable table)
    {
        string text = table.String("mode", octal => octal.Length is 3 or 4 && !octal.AsSpan().ContainsAnyExcept("01234567"), "three or four octal digits in quotes, such as \"0644\"") ?? "0644";
        return text.Aggregate(0u, (mode, digit) => (mode << 3) | uint.Parse(digit.ToString(), CultureInfo.InvariantCulture));
    }

    private static bool IsTreePath(string path) =>
        path.Length > 1 && path[0] == '/' && !path.Contains('\0', StringComparison.Ordinal) && path[1..].Split('/').All(part => part is not ("" or "." or ".."));
}
