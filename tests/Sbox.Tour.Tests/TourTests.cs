using Sbox.Judges;

namespace Sbox.Tour.Tests;

// Machines under emulation take all the processor there is: one collection, so one at a time.
[Collection("machine")]
public sealed class TourTests(ITestOutputHelper output)
{
    [Fact, Trait("Category", "Slow")]
    public async Task A_box_boots_upgrades_as_a_whole_and_rolls_back_with_its_data()
    {
        DemoImage image = DemoImage.Ensure(new Tools(SourceTree.Root), Judge.Cache);
        var story = new Story(image, Path.Combine(image.Directory, "test-machine"), output.WriteLine);
        await story.Tell();
        foreach (StepCost cost in image.Made.Concat(story.Costs))
            output.WriteLine(cost.ToString());
    }
}
