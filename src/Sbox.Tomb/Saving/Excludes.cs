using System.Text;
using System.Text.RegularExpressions;

namespace Sbox.Tomb;

/// <summary>
/// What is not saved, by patterns as restic has them: <c>*</c> <c>?</c> <c>[..]</c> within a name, <c>**</c> over any number of directories;
/// one that begins with <c>/</c> is about the whole path, another about any part of it. A directory that matches is left out with all below.
/// </summary>
public sealed class Excludes
{
    private readonly Regex? pattern;

    /// <param name="patterns">The patterns; empty ones and those that begin with <c>#</c> say nothing.</param>
    /// <exception cref="ArgumentException">One of them has a bracket that is not closed.</exception>
    public Excludes(IEnumerable<string> patterns)
    {
        Patterns = [.. patterns.Select(static each => each.Trim()).Where(static each => each.Length > 0 && each[0] != '#')];
        if (Patterns.Count > 0)
            pattern = new Regex(string.Join('|', Patterns.Select(Translate)), RegexOptions.CultureInvariant | RegexOptions.NonBacktracking);
    }

    /// <summary>The patterns.</summary>
    public IReadOnlyList<string> Patterns { get; }

    /// <summary>Whether an absolute path is left out. Its parents have been asked before.</summary>
    public bool Match(string path) => pattern is not null && pattern.IsMatch(path);

    private static string Translate(string glob)
    {
        var regex = new StringBuilder(glob[0] == '/' ? "^" : "(?:^|/)");
        string text = glob.Length > 1 ? glob.TrimEnd('/') : glob;
        for (int at = 0; at < text.Length; at++)
        {
            switch (text[at])
            {
                case '*' when text.AsSpan(at).StartsWith("**/", StringComparison.Ordinal):
                    regex.Append("(?:[^/]+/)*");
                    at += 2;
                    break;
                case '*' when text.AsSpan(at).StartsWith("**", StringComparison.Ordinal):
                    regex.Append(".*");
                    at++;
                    break;
                case '*':
                    regex.Append("[^/]*");
                    break;
                case '?':
                    regex.Append("[^/]");
                    break;
                case '[':
                    int end = text.IndexOf(']', at + 1);
                    if (end < 0)
                        throw new ArgumentException($"'{glob}': the bracket is not closed");
                    string inside = text[(at + 1)..end].Replace("\\", "\\\\", StringComparison.Ordinal);
                    regex.Append('[').Append(inside.StartsWith('!') ? "^" + inside[1..] : inside).Append(']');
                    at = end;
                    break;
                case '\\' when at + 1 < text.Length:
                    regex.Append(Regex.Escape(text[++at].ToString()));
                    break;
                default:
                    regex.Append(Regex.Escape(text[at].ToString()));
                    break;
            }
        }

        return regex.Append('$').ToString();
    }
}
