using System.Text;
using CsCheck;
using Sbox.Codecs.Composefs;

namespace Sbox.Codecs.Tests.Composefs;

public class ComposefsDumpTests
{
    private const string Root = "/ 0 40755 2 0 0 0 0.0 - - -\n";

    [Fact]
    public void Any_tree_reads_back_as_written() => AnyTree.Any.Sample(static root =>
    {
        byte[] dump = ComposefsDump.Write(root);
        return ComposefsDump.Write(ComposefsDump.Read(dump)).AsSpan().SequenceEqual(dump);
    }, iter: 200);

    [Theory]
    [InlineData("", "line 1: expected the root directory, found nothing")]
    [InlineData("/ 0 100644 1 0 0 0 0.0 - - -", "line 1: expected a directory as root, found a file")]
    [InlineData("/a 0 40755 2 0 0 0 0.0 - - -", "line 1: expected a directory listed before what is in it, found '/a'")]
    [InlineData(Root + "/ 0 40755 2 0 0 0 0.0 - - -", "line 2: expected one root, on the first line, found another")]
    [InlineData(Root + "/a 0 100644 1 0 0 0", "line 2: expected a field mtime, found the line's end")]
    [InlineData(Root + "/a 0 100644 1 0 0 0 0 - - -", "line 2: expected a time such as 1700000000.0, found '0'")]
    [InlineData(Root + "/a x 100644 1 0 0 0 0.0 - - -", "line 2: expected a number for size, at most 18446744073709551615, found 'x'")]
    [InlineData(Root + "/a 0 100648 1 0 0 0 0.0 - - -", "line 2: expected an octal mode, found '100648'")]
    [InlineData(Root + "/a 0 644 1 0 0 0 0.0 - - -", "line 2: expected a mode with a file type, found '644'")]
    [InlineData(Root + "/a 3 100644 1 0 0 0 0.0 - ab -", "line 2: expected content of 3 bytes, as the size says, found 2 bytes")]
    [InlineData(Root + "/a 3 100644 1 0 0 0 0.0 - - abc", "line 2: expected a digest of 64 hexadecimal digits, found 'abc'")]
    [InlineData(Root + "/a\\q 0 10644 1 0 0 0 0.0 - - -", "line 2: expected an escape in path that is one of \\\\ \\n \\r \\t \\xNN, found '\\q'")]
    [InlineData(Root + "/a 0 10644 1 0 0 0 0.0 - - - user.a", "line 2: expected an extended attribute as name=value, found 'user.a'")]
    [InlineData(Root + "/a 0 10644 1 0 0 0 0.0 - - -\n/a 0 10644 1 0 0 0 0.0 - - -", "line 3: expected each path once, found '/a' again")]
    [InlineData(Root + "/a 0 10644 1 0 0 0 0.0 - - -\n/a/b 0 10644 1 0 0 0 0.0 - - -", "line 3: expected a directory as parent, found '/a'")]
    [InlineData(Root + "/a 0 @10644 1 0 0 0 0.0 /b - -", "line 2: expected a target that is in the dump, found '/b'")]
    [InlineData(Root + "/a 0 @10644 1 0 0 0 0.0 /b - -\n/b 0 @10644 1 0 0 0 0.0 /a - -", "line 2: expected hard links that end at a file, found a circle")]
    [InlineData(Root + "/a 0 @40755 1 0 0 0 0.0 /b - -", "line 2: expected a file as a hard link, found a directory")]
    [InlineData(Root + "/a 0 @10644 1 0 0 0 0.0 / - -", "line 2: expected a file as a hard link's target, found a directory")]
    public void A_line_that_does_not_keep_to_the_format_is_named(string dump, string complaint)
    {
        MalformedException malformed = Assert.Throws<MalformedException>(() => ComposefsDump.Read(Encoding.Latin1.GetBytes(dump)));
        Assert.Equal($"malformed composefs dump: {complaint}", malformed.Message);
    }

    [Fact]
    public void Hostile_bytes_give_an_error_or_an_image_and_nothing_else() =>
        Gen.Select(AnyTree.Any, Gen.Select(Gen.Int[0, int.MaxValue], Gen.Byte).Array[1, 4]).Sample(static (root, changes) =>
        {
            byte[] dump = ComposefsDump.Write(root);
            foreach ((int at, byte value) in changes)
                dump[at % dump.Length] = value;
            try
            {
                ComposefsImage.Write(ComposefsDump.Read(dump), Stream.Null);
            }
            catch (Exception refused) when (refused is MalformedException or ArgumentException)
            {
            }
        }, iter: 2000);
}
