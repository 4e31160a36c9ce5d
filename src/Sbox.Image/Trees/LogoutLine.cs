namespace Sbox.Image;

/// <summary>What says at a logout what a ghost will forget: a file that bash reads when a login shell ends, and a line of PAM, which runs as root, for the console's next login prompt.</summary>
internal static class LogoutLine
{
    private const string OfBash = "etc/bash.bash_logout", OfConsole = "etc/pam.d/login", Kept = "usr/lib/sbox/box";

    /// <summary>The line of PAM. A console's screen is cleared when its login ends, so there the next prompt says it.</summary>
    public const string Pam = "session  optional  pam_exec.so quiet type=close_session /usr/bin/sbox ghost logout --issue";

    /// <summary>Installs it. A file of the owner's that bash reads keeps all that it says.</summary>
    public static void InstallInto(TreeRoot tree, string name, string text)
    {
        tree.Write($"{Kept}/{name}", text); // where a box that builds others looks for it
        string before = tree.Exists(OfBash) ? tree.ReadText(OfBash) : "";
        if (!before.Contains(text, StringComparison.Ordinal))
            tree.Write(OfBash, before.Length == 0 || before.EndsWith('\n') ? before + text : $"{before}\n{text}");
        if (tree.Exists(OfConsole))
            tree.Rewrite(OfConsole, TombUnits.WithLines(tree.ReadText(OfConsole), [Pam]));
    }
}
