using System.Text;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>A keyboard layout of the X keyboard database, which Debian's console uses too.</summary>
/// <param name="Layout">Its code: <c>de</c>.</param>
/// <param name="Variant">The variant's, or empty: <c>nodeadkeys</c>.</param>
/// <param name="Title">What people call it.</param>
public sealed record KeyboardLayout(string Layout, string Variant, string Title)
{
    /// <summary>The database's list: base.lst of xkb-data.</summary>
    public const string List = "/usr/share/X11/xkb/rules/base.lst";

    /// <summary>The code, as it is typed: <c>de nodeadkeys</c>.</summary>
    public string Code => Variant.Length == 0 ? Layout : $"{Layout} {Variant}";

    /// <summary>Reads the list.</summary>
    /// <param name="text">Of base.lst: sections that begin with <c>! layout</c> and <c>! variant</c>, of lines <c>code  title</c> and <c>code  layout: title</c>.</param>
    public static IReadOnlyList<KeyboardLayout> Parse(string text)
    {
        var layouts = new List<KeyboardLayout>();
        string section = "";
        foreach (string line in text.Split('\n').Select(static line => line.Trim()).Where(static line => line.Length > 0))
        {
            if (line[0] == '!')
                section = line[1..].Trim();
            else if (line.IndexOf(' ', StringComparison.Ordinal) is > 0 and int end && (code: line[..end], title: line[end..].Trim()) is var (code, title))
            {
                if (section == "layout" && code != "custom")
                    layouts.Add(new KeyboardLayout(code, "", title));
                else if (section == "variant" && title.IndexOf(": ", StringComparison.Ordinal) is > 0 and int colon)
                    layouts.Add(new KeyboardLayout(title[..colon], code, title[(colon + 2)..]));
            }
        }

        return layouts;
    }

    /// <summary>Those that a person may mean: the one whose code it is, or all in whose title every word is the beginning of one.</summary>
    public static IReadOnlyList<KeyboardLayout> Find(IReadOnlyList<KeyboardLayout> layouts, string typed)
    {
        string[] words = typed.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        if (words.Length == 0)
            return [];
        if (layouts.FirstOrDefault(each => each.Code.Equals(string.Join(' ', words), StringComparison.OrdinalIgnoreCase)) is { } exact)
            return [exact];
        return [.. layouts.Where(each => words.All(word => Words(each).Any(has => has.StartsWith(word, StringComparison.OrdinalIgnoreCase)))).OrderBy(static each => each.Variant.Length > 0)];
    }

    /// <summary>Makes it the machine's: /etc/default/keyboard, as keyboard(5) has it, for the console and for desktops.</summary>
    /// <param name="etc">/etc.</param>
    public void Write(Dir etc)
    {
        using Dir defaults = etc.MakeAndOpenDir("default");
        Durable.Replace(defaults, "keyboard", Encoding.UTF8.GetBytes($"# keyboard(5); chosen at the first boot.\nXKBMODEL=\"pc105\"\nXKBLAYOUT=\"{Layout}\"\nXKBVARIANT=\"{Variant}\"\nXKBOPTIONS=\"\"\n\nBACKSPACE=\"guess\"\n"));
    }

    private static string[] Words(KeyboardLayout layout) => [layout.Layout, layout.Variant, .. layout.Title.Split([' ', ',', '(', ')', ':', '-'], StringSplitOptions.RemoveEmptyEntries)];
}
