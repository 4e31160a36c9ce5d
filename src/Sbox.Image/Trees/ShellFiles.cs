namespace Sbox.Image;

/// <summary>What a shell and man(1) find of sbox in a box.</summary>
internal static class ShellFiles
{
    // The program says what may come next by itself: what is here only asks it, and is never out of date.
    private static readonly (string Path, string Text)[] Completion =
    [
        ("usr/share/bash-completion/completions/sbox", "eval \"$(sbox completion bash)\"\n"),
        ("usr/share/zsh/vendor-completions/_sbox", "#compdef sbox\neval \"$(sbox completion zsh)\"\n_sbox \"$@\"\n"),
        ("usr/share/fish/vendor_completions.d/sbox.fish", "sbox completion fish | source\n"),
    ];

    /// <summary>Puts completion into a tree.</summary>
    public static void InstallCompletion(TreeRoot tree)
    {
        foreach ((string path, string text) in Completion)
            tree.Write(path, text);
    }

    /// <summary>Puts the manual pages of a directory into a tree: those of sbox and of its ostree, each in its section.</summary>
    public static void InstallPages(TreeRoot tree, string directory)
    {
        foreach (string page in Pages(directory))
            tree.Write($"usr/share/man/man{Path.GetExtension(page)[1..]}/{Path.GetFileName(page)}", File.ReadAllBytes(page));
    }

    /// <summary>The pages: in <c>docs/man</c> they lie side by side, on a box by section.</summary>
    public static IEnumerable<string> Pages(string directory) => Directory.EnumerateFiles(directory, "*", SearchOption.AllDirectories)
        .Where(static file => Path.GetFileName(file) is var name && (name.StartsWith("sbox", StringComparison.Ordinal) || name.StartsWith("ostree", StringComparison.Ordinal)) && Path.GetExtension(name) is [_, >= '1' and <= '9'])
        .OrderBy(Path.GetFileName, StringComparer.Ordinal);
}
