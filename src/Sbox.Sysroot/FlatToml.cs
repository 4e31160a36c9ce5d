using Tomlyn.Parsing;
using Tomlyn.Syntax;

namespace Sbox.Sysroot;

/// <summary>TOML that has keys and no tables, as settings that one file stands over another for.</summary>
internal static class FlatToml
{
    /// <summary>Reads it.</summary>
    /// <param name="file">Its name, for messages.</param>
    /// <param name="text">Its text.</param>
    /// <param name="wrong">Makes the exception for a line, from 1, and what is wrong there.</param>
    public static DocumentSyntax Parse(string file, string text, Func<int, string, Exception> wrong)
    {
        DocumentSyntax document = SyntaxParser.Parse(text, file, validate: true);
        foreach (DiagnosticMessage message in document.Diagnostics)
        {
            if (message.Kind == DiagnosticMessageKind.Error)
                throw wrong(message.Span.Start.Line + 1, message.Message.TrimEnd('.'));
        }

        return document.Tables.ChildrenCount == 0 ? document : throw wrong(document.Tables.First().Span.Start.Line + 1, "there are no tables here");
    }

    /// <summary>A pair's key.</summary>
    public static string KeyOf(KeyValueSyntax pair) => pair.Key?.ToString().Trim() ?? "";

    /// <summary>A pair's line, from 1.</summary>
    public static int LineOf(KeyValueSyntax pair) => pair.Span.Start.Line + 1;
}
